package flight_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/retry"
)

// A client that says of itself that it retries (its attempt came with the request) started
// the flight of many: nobody's call was retried then, and with an attempt of 2 none earned
// for the hedges that it spent. The call of a flight is nobody's attempt from outside. An
// attempt of a Retry around the flight in this process remains one: two within one another
// do not multiply.
//
// Contract: 31
func TestFlightIsNobodysAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		first    func(context.Context) context.Context
		outer    *retry.Retry
		attempts int
	}{
		"no mark":                 {attempts: 3},
		"a first attempt":         {first: func(ctx context.Context) context.Context { return retry.WithAttempt(ctx, 1) }, attempts: 3},
		"a second attempt":        {first: func(ctx context.Context) context.Context { return retry.WithAttempt(ctx, 2) }, attempts: 3},
		"a Retry around":          {outer: retry.New(retry.Config{Attempts: 2}), attempts: 2},
		"one without retries":     {outer: retry.New(retry.Config{Attempts: 1}), attempts: 1},
		"a piece of its own work": {first: func(ctx context.Context) context.Context { return retry.WithAttempt(ctx, 0) }, attempts: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := flight.New[int](flight.Config{})
				budget := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1})
				inner := retry.New(retry.Config{Budget: budget})
				limit := budget.Stats().Limit
				ctx := t.Context()
				if c.first != nil {
					ctx = c.first(ctx)
				}
				attempts := 0
				err := c.outer.Run(ctx, func(ctx context.Context) error {
					_, _, err := f.Do(ctx, "key", func(ctx context.Context) (int, error) {
						return retry.Do(ctx, inner, func(context.Context) (int, error) { attempts++; return 0, errCall })
					})
					return err
				})
				require.ErrorIs(t, err, errCall)
				require.Equal(t, c.attempts, attempts)
				require.Equal(t, limit+1, budget.Stats().Limit, "the call has earned, once")
			})
		})
	}
}

// The call of a flight is not measured by the hedge around its first caller either: what it
// waits for is not that caller's wait.
//
// Contract: 53
func TestFlightIsNoCallOfAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[int](flight.Config{})
		h := hedge.New(hedge.Config{Delay: time.Second})
		_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
			v, _, err := f.Do(ctx, "key", func(ctx context.Context) (int, error) {
				defer hedge.Waiting(ctx)()
				time.Sleep(2 * time.Second)
				return 1, nil
			})
			return v, err
		})
		require.NoError(t, err)
		require.EqualValues(t, 1, h.Stats().Hedges)
	})
}

// A call that came back to its own key, by way of another even, waited for itself until its
// callers' time was over.
//
// Contract: 49
func TestFlightWithinItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, other := flight.New[int](flight.Config{}), flight.New[int](flight.Config{})
		var kept context.Context
		began := time.Now()
		v, degraded, err := f.Do(t.Context(), "key", func(ctx context.Context) (int, error) {
			kept = ctx
			v, _, err := other.Do(ctx, "key", func(ctx context.Context) (int, error) {
				v, _, err := f.Do(ctx, "key", func(context.Context) (int, error) { return 7, nil })
				return v, err
			})
			return v, err
		})
		require.NoError(t, err)
		require.Nil(t, degraded)
		require.Equal(t, 7, v)
		require.Equal(t, began, time.Now())
		require.EqualValues(t, 1, f.Stats().Succeeded, "the inner one is part of it")
		require.Zero(t, f.Stats().Shared)

		// A context that outlives the call is of no flight any more: its calls are shared.
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, _, err := f.Do(context.WithoutCancel(kept), "key", func(context.Context) (int, error) { time.Sleep(time.Second); return 8, nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 2, f.Stats().Shared)
		// Another key's call is another.
		_, _, err = f.Do(t.Context(), "key", func(ctx context.Context) (int, error) {
			v, _, err := f.Do(ctx, "other", func(context.Context) (int, error) { return 9, nil })
			return v, err
		})
		require.NoError(t, err)
		require.EqualValues(t, 4, f.Stats().Succeeded)
	})
}

// Values kept for StaleIfError answered a 403 with what another had been shown before. An
// answer is not replaced, and what it says is gone is not kept.
func TestAnswersAreNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forbidden, broken := errors.New("403"), errors.New("500")
		f := flight.New[string](flight.Config{
			StaleIfError: time.Hour,
			Classify: func(ctx context.Context, err error) stability.Outcome {
				if errors.Is(err, forbidden) {
					return stability.Success
				}
				return stability.Classify(ctx, err)
			},
		})
		get := func(v string, err error) (string, error) {
			v, _, err = f.Do(t.Context(), "page", func(context.Context) (string, error) { return v, err })
			return v, err
		}
		_, err := get("secret", nil)
		require.NoError(t, err)
		v, err := get("", broken)
		require.NoError(t, err)
		require.Equal(t, "secret", v)
		_, err = get("", forbidden)
		require.ErrorIs(t, err, forbidden)
		_, err = get("", broken)
		require.ErrorIs(t, err, broken, "what was answered with 403 is not shown again")
	})
}

// Contract: 42
func TestKeptKeysAreShort(t *testing.T) {
	f := flight.New[string](flight.Config{StaleIfError: time.Hour})
	long := strings.Repeat("x", 1<<20)
	seen := map[string]bool{}
	for n := range 100 {
		v, degraded, err := f.Do(t.Context(), long+strconv.Itoa(n), func(context.Context) (string, error) { return strconv.Itoa(n), nil })
		require.NoError(t, err)
		require.Nil(t, degraded)
		seen[v] = true
	}
	require.Len(t, seen, 100)
	require.Equal(t, 100, f.Stats().Kept)
	for _, size := range f.KeySizes() {
		require.LessOrEqual(t, size, 256)
	}
	v, degraded, err := f.Do(t.Context(), long+"42", func(context.Context) (string, error) { return "", errCall })
	require.NoError(t, err)
	require.NotNil(t, degraded)
	require.Equal(t, "42", v)
}

// Why a caller left was lost on the way.
func TestCauseOfTheCallersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shutdown := errors.New("shutting down")
		f := flight.New[int](flight.Config{})
		fn := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		for _, after := range []time.Duration{0, time.Second} {
			ctx, cancel := context.WithCancelCause(t.Context())
			if after == 0 {
				cancel(shutdown)
			} else {
				time.AfterFunc(after, func() { cancel(shutdown) })
			}
			_, _, err := f.Do(ctx, "key", fn)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, shutdown)
		}
	})
}

// Contract: 55
func TestAcrossBubbles(t *testing.T) {
	policytest.AcrossBubbles(t, func(t testing.TB) *flight.Flights[int] {
		f := flight.New[int](flight.Config{StaleIfError: time.Second})
		_, _, err := f.Do(context.Background(), "key", func(context.Context) (int, error) { return 1, nil })
		require.NoError(t, err)
		return f
	}, func(t testing.TB, f *flight.Flights[int]) {
		_, _, err := f.Do(context.Background(), "other", func(context.Context) (int, error) { return 2, nil })
		require.NoError(t, err)
		v, degraded, err := f.Do(context.Background(), "other", func(context.Context) (int, error) { return 0, errCall })
		require.NoError(t, err)
		require.NotNil(t, degraded)
		require.Equal(t, 2, v)
	})
}
