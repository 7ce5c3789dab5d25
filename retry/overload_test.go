package retry_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// shed is the error of a dependency that sheds load, and says when to come back, or not.
type shed struct{ after time.Duration }

func (shed) Error() string             { return "too much to do" }
func (shed) Overloaded() bool          { return true }
func (s shed) Pushback() time.Duration { return s.after }

// Three hundred clients that were told the same second came back within the fifty
// milliseconds of a backoff, and met what had sent them away. They come back over half a
// second more, as far as their deadlines and MaxPushback let them.
//
// Contract: 27, 52
func TestThoseToldTheSameDoNotComeBackTogether(t *testing.T) {
	const clients, told = 300, time.Second
	for name, c := range map[string]struct {
		deadline    time.Duration // 0: none
		maxPushback time.Duration
		spread      time.Duration // at the least, and
		latest      time.Duration
	}{
		"time enough":      {deadline: 30 * time.Second, spread: 500 * time.Millisecond, latest: 1550 * time.Millisecond},
		"no deadline":      {spread: 500 * time.Millisecond, latest: 1550 * time.Millisecond},
		"a deadline":       {deadline: 1400 * time.Millisecond, spread: 190 * time.Millisecond, latest: 1200 * time.Millisecond},
		"a short patience": {maxPushback: 1100 * time.Millisecond, spread: 95 * time.Millisecond, latest: 1100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := retry.New(retry.Config{MaxPushback: c.maxPushback, Budget: retry.Unlimited()})
				began := time.Now()
				var mu sync.Mutex
				var back []time.Duration
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						ctx := t.Context()
						if c.deadline > 0 {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, c.deadline)
							defer cancel()
						}
						first := true
						err := r.Run(ctx, func(context.Context) error {
							if first {
								first = false
								return shed{told}
							}
							mu.Lock()
							defer mu.Unlock()
							back = append(back, time.Since(began))
							return nil
						})
						if err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				require.Len(t, back, clients)
				slices.Sort(back)
				require.GreaterOrEqual(t, back[0], told)
				require.LessOrEqual(t, back[clients-1], c.latest)
				require.GreaterOrEqual(t, back[clients-1]-back[0], c.spread*9/10)
				most := 0
				for i, at := range back {
					n, _ := slices.BinarySearch(back, at+c.spread/10)
					most = max(most, n-i)
				}
				require.Less(t, most, clients/4, "in any tenth of the span")
			})
		})
	}
}

// Overload is retried as failures are: each retry is paid for, and waits for as long as was
// asked for, or else for a backoff. What the call ends in is overload still, so that it is
// no failure to a breaker further out.
//
// Contract: 30, 47
func TestOverloadIsRetriedWithinTheBudget(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			budget := retry.NewBudget(retry.BudgetConfig{MinPerSecond: 0.3, Ratio: 1e-9, Window: 10 * time.Minute})
			r := retry.New(retry.Config{Base: time.Second, Max: time.Second, Jitter: longest, Budget: budget, Attempts: 3})
			began := time.Now()
			calls := 0
			err := r.Run(t.Context(), func(context.Context) error { calls++; return shed{after} })
			require.Equal(t, 3, calls)
			require.Equal(t, 2*(time.Second+after+after/2), time.Since(began))
			require.EqualValues(t, 2, budget.Stats().Spent)
			require.ErrorIs(t, err, retry.ErrExhausted)
			require.True(t, stability.Overloaded(err))
			require.Equal(t, after, stability.RetryAfter(err))
			require.Equal(t, stability.Ignored, stability.Classify(t.Context(), err))
			require.EqualValues(t, 1, r.Stats().Ignored)
			for budget.Spend() {
			}
			err = r.Run(t.Context(), func(context.Context) error { return shed{after} })
			require.ErrorIs(t, err, retry.ErrBudget)
			require.True(t, stability.Overloaded(err))
		})
	}
}

// An Error that somebody made without its parts panicked when it was read.
func TestErrorOfNothing(t *testing.T) {
	for want, err := range map[string]*retry.Error{
		"retry: given up (attempt 0)":                                 {},
		"stock: retry: given up (attempt 2: the call's own error)":    {Name: "stock", Attempts: 2, Errors: []error{errCall}},
		"stock: retry: attempts exhausted (attempt 2)":                {Name: "stock", Attempts: 2, Reason: retry.ErrExhausted},
		"retry: attempts exhausted (attempt 1: the call's own error)": {Attempts: 1, Reason: retry.ErrExhausted, Errors: []error{errCall}},
	} {
		require.EqualError(t, err, want)
		require.NotContains(t, err.Unwrap(), nil)
		require.Equal(t, len(err.Errors) > 0, errors.Is(err, errCall))
		require.NotEmpty(t, err.ErrorType())
		require.False(t, stability.Overloaded(err))
	}
}

// Why the caller went away was lost on the way: a shutdown read like any cancellation.
func TestCauseOfTheCallersEnd(t *testing.T) {
	shutdown := errors.New("shutting down")
	for name, run := range map[string]func(ctx context.Context, end func(error)) error{
		"before the call": func(ctx context.Context, end func(error)) error {
			end(shutdown)
			return retry.New(retry.Config{}).Run(ctx, nil)
		},
		"in the call": func(ctx context.Context, end func(error)) error {
			return retry.New(retry.Config{}).Run(ctx, func(ctx context.Context) error { end(shutdown); return ctx.Err() })
		},
		"in the call, which failed": func(ctx context.Context, end func(error)) error {
			return retry.New(retry.Config{}).Run(ctx, func(context.Context) error { end(shutdown); return errCall })
		},
		"in the pause": func(ctx context.Context, end func(error)) error {
			time.AfterFunc(time.Minute, func() { end(shutdown) })
			r := retry.New(retry.Config{Base: time.Hour, Max: time.Hour, Jitter: longest})
			return r.Run(ctx, func(context.Context) error { return errCall })
		},
		"before a refusal": func(ctx context.Context, end func(error)) error {
			calls := 0
			return retry.New(retry.Config{}).Run(ctx, func(context.Context) error {
				if calls++; calls == 1 {
					return errCall
				}
				end(shutdown)
				return &stability.Rejection{}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				err := run(ctx, cancel)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, shutdown)
				require.ErrorContains(t, err, "shutting down")
				require.Equal(t, stability.Ignored, stability.Classify(ctx, err))
			})
		})
	}
}
