package fallback_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
)

var (
	errCall    = errors.New("the call's own error")
	errInstead = errors.New("the fallback's own error")
)

func answers(context.Context) (string, error) { return "real", nil }
func fails(context.Context) (string, error)   { return "half", errCall }

func second(context.Context, error) (string, error) { return "second", nil }
func none(context.Context, error) (string, error)   { return "nonsense", errInstead }

func unused(t *testing.T) func(context.Context, error) (string, error) {
	return func(context.Context, error) (string, error) {
		t.Error("the fallback was called")
		return "", nil
	}
}

func TestTheRealValueIsNotDegraded(t *testing.T) {
	f := fallback.New(fallback.Config{})
	v, degraded, err := fallback.Do(t.Context(), f, answers, unused(t))
	require.NoError(t, err)
	require.Nil(t, degraded)
	require.Equal(t, "real", v)
	require.Equal(t, fallback.Stats{Calls: stability.Calls{Succeeded: 1}}, f.Stats())
}

func TestAFailedCallIsAnsweredAndMarked(t *testing.T) {
	f := fallback.New(fallback.Config{})
	v, degraded, err := fallback.Do(t.Context(), f, fails, func(_ context.Context, err error) (string, error) {
		require.Equal(t, errCall, err)
		return "second", nil
	})
	require.NoError(t, err)
	require.Equal(t, "second", v)
	require.Equal(t, &stability.Degraded{Cause: errCall}, degraded)
	require.Equal(t, fallback.Stats{Calls: stability.Calls{Failed: 1}, Degraded: 1}, f.Stats())
}

// The guard inside is full, and in another case a nil pointer.
func TestARefusedCallIsAnsweredAndMarked(t *testing.T) {
	f := fallback.New(fallback.Config{})
	guard := bulkhead.New(bulkhead.Config{Limit: 1})
	pass, err := guard.Enter(t.Context())
	require.NoError(t, err)
	defer func() { _ = pass.Done(nil) }()

	guarded := func(p stability.Policy) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return stability.Do(ctx, p, answers) }
	}
	v, degraded, err := fallback.Do(t.Context(), f, guarded(guard), second)
	require.NoError(t, err)
	require.Equal(t, "second", v)
	require.ErrorIs(t, degraded.Cause, bulkhead.ErrFull)
	require.Equal(t, fallback.Stats{Calls: stability.Calls{Ignored: 1}, Degraded: 1}, f.Stats())

	v, degraded, err = fallback.Do(t.Context(), f, guarded((*bulkhead.Bulkhead)(nil)), unused(t))
	require.NoError(t, err)
	require.Nil(t, degraded)
	require.Equal(t, "real", v)
}

func TestNoOtherValueEither(t *testing.T) {
	f := fallback.New(fallback.Config{})
	v, degraded, err := fallback.Do(t.Context(), f, fails, none)
	require.ErrorIs(t, err, errCall)
	require.ErrorIs(t, err, errInstead)
	require.Nil(t, degraded)
	require.Empty(t, v, "neither half a value of the call nor one of the fallback")
	require.Equal(t, fallback.Stats{Calls: stability.Calls{Failed: 1}, Unanswered: 1}, f.Stats())
}

// A call that was made and failed is no Rejection because the fallback was refused: a
// breaker outside would ignore that it failed.
//
// Contract: 28, 29
func TestARefusedFallbackIsNoRefusal(t *testing.T) {
	f := fallback.New(fallback.Config{})
	full := &stability.Rejection{Policy: "bulkhead", Reason: bulkhead.ErrFull, RetryAfter: time.Second}
	refused := func(context.Context, error) (string, error) { return "", full }
	_, _, err := fallback.Do(t.Context(), f, fails, refused)
	require.False(t, stability.Rejected(err))
	require.ErrorIs(t, err, errCall)
	require.ErrorIs(t, err, bulkhead.ErrFull)
	require.Equal(t, time.Second, stability.RetryAfter(err))
	require.Equal(t, stability.Failure, stability.Classify(t.Context(), err))

	_, _, err = fallback.Do(t.Context(), f, func(context.Context) (string, error) { return "", full }, refused)
	require.True(t, stability.Rejected(err), "nothing was made")
}

// A fallback that does not return has not answered.
func TestAPanickingFallbackIsUnanswered(t *testing.T) {
	f := fallback.New(fallback.Config{})
	require.PanicsWithValue(t, errInstead, func() {
		_, _, _ = fallback.Do(t.Context(), f, fails, func(context.Context, error) (string, error) { panic(errInstead) })
	})
	require.EqualValues(t, 1, f.Stats().Unanswered)
	require.Zero(t, f.Stats().Degraded)
}

func TestNilInsteadIsNoAnswer(t *testing.T) {
	f := fallback.New(fallback.Config{})
	v, degraded, err := fallback.Do(t.Context(), f, func(context.Context) (int, error) { return 3, errCall }, nil)
	require.Equal(t, 3, v)
	require.Nil(t, degraded)
	require.Equal(t, errCall, err)
	require.EqualValues(t, 1, f.Stats().Unanswered)
}

func TestTheCallersCancellationIsNotAnswered(t *testing.T) {
	f := fallback.New(fallback.Config{Classify: func(context.Context, error) stability.Outcome { return stability.Failure }})
	ctx, cancel := context.WithCancel(t.Context())
	_, degraded, err := fallback.Do(ctx, f, func(ctx context.Context) (string, error) {
		cancel()
		return "", ctx.Err()
	}, unused(t))
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, degraded)

	_, _, err = fallback.Do(ctx, f, func(context.Context) (string, error) {
		t.Error("the call ran")
		return "", nil
	}, unused(t))
	require.ErrorIs(t, err, context.Canceled, "canceled before the call")
}

func TestADeadlineThatPassesIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fallback.New(fallback.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, degraded, err := fallback.Do(ctx, f, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}, func(ctx context.Context, _ error) (string, error) {
			require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
			return "second", nil
		})
		require.NoError(t, err)
		require.Equal(t, "second", v)
		require.ErrorIs(t, degraded.Cause, context.DeadlineExceeded)
	})
}

func TestWhatTheClassifierCallsASuccessReachesTheCaller(t *testing.T) {
	errNoRow := errors.New("no such row")
	for outcome, answered := range map[stability.Outcome]bool{
		stability.Success: false, stability.Ignored: false, stability.Failure: true, 77: true,
	} {
		f := fallback.New(fallback.Config{Classify: func(context.Context, error) stability.Outcome { return outcome }})
		v, degraded, err := fallback.Do(t.Context(), f, func(context.Context) (string, error) { return "row 0", errNoRow }, second)
		if answered {
			require.NoError(t, err)
			require.Equal(t, errNoRow, degraded.Cause)
			continue
		}
		require.Equal(t, errNoRow, err)
		require.Equal(t, "row 0", v)
		require.Nil(t, degraded)
	}
}

func TestNilLetsEveryErrorThrough(t *testing.T) {
	v, degraded, err := fallback.Do(t.Context(), nil, fails, unused(t))
	require.Equal(t, errCall, err)
	require.Nil(t, degraded)
	require.Equal(t, "half", v)
	require.Zero(t, (*fallback.Fallback)(nil).Stats())
}

func TestPanicsPass(t *testing.T) {
	f := fallback.New(fallback.Config{})
	value := &struct{ int }{7}
	panics := func(context.Context) (string, error) { panic(value) }
	for _, do := range []func(){
		func() { _, _, _ = fallback.Do(t.Context(), f, panics, unused(t)) },
		func() {
			_, _, _ = fallback.Do(t.Context(), f, fails, func(ctx context.Context, _ error) (string, error) { return panics(ctx) })
		},
	} {
		func() {
			defer func() { require.Same(t, value, recover()) }()
			do()
		}()
	}
	require.Equal(t, stability.Calls{Failed: 2}, f.Stats().Calls)
}

// A random mixture of ways to end, each counted once.
//
// Contract: 43
func TestEachCallIsCountedOnce(t *testing.T) {
	f := fallback.New(fallback.Config{})
	const goroutines, each = 16, 300
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				done := make(chan struct{})
				go func() { // a Goexit ends it
					defer close(done)
					defer func() { _ = recover() }()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					v, degraded, err := fallback.Do(ctx, f, func(ctx context.Context) (string, error) {
						switch rand.IntN(5) {
						case 0:
							return fails(ctx)
						case 1:
							panic(errCall)
						case 2:
							runtime.Goexit()
						case 3:
							cancel()
							return "", ctx.Err()
						}
						return answers(ctx)
					}, second)
					if (v == "second") != (degraded != nil) || degraded != nil && err != nil {
						t.Errorf("%q, %v, %v", v, degraded, err)
					}
				}()
				<-done
			}
		})
	}
	wg.Wait()
	s := f.Stats()
	require.EqualValues(t, goroutines*each, s.Started(), "%+v", s)
	require.Positive(t, s.Degraded)
	require.Less(t, s.Degraded, s.Failed, "panics and Goexits are failures that nothing answers for")
	require.Zero(t, s.Rejected)
}
