package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// hang waits for the end of its context, as a call to a dead dependency does.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("read: %w", ctx.Err())
}

// Contract: 19
func TestExceededIsOurs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{Name: "stock", After: time.Second})
		began := time.Now()
		err := to.Run(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			require.Equal(t, context.DeadlineExceeded, ctx.Err())
			require.ErrorIs(t, context.Cause(ctx), timeout.ErrExceeded)
			return errCall
		})
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errCall)
		require.False(t, stability.Rejected(err), "the call was sent")
		require.EqualError(t, err, "stock: timeout: exceeded 1s: the call's own error")

		var ours *timeout.Error
		require.ErrorAs(t, err, &ours)
		require.Equal(t, timeout.Error{Name: "stock", After: time.Second, Err: errCall}, *ours)
		require.Equal(t, "timeout_exceeded", ours.ErrorType())
		timeouter, ok := err.(interface{ Timeout() bool })
		require.True(t, ok && timeouter.Timeout())
		var network net.Error
		require.ErrorAs(t, err, &network)
		require.True(t, network.Timeout())

		require.Equal(t, timeout.Stats{Calls: stability.Calls{Failed: 1}, Exceeded: 1, After: time.Second}, to.Stats())
	})
}

// A call that looks at nothing but the clock is told all the same.
//
// Contract: 19
func TestExceededWithoutDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		err := to.Run(t.Context(), func(context.Context) error { time.Sleep(time.Second); return errCall })
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, errCall)
	})
}

// Contract: 19
func TestCallersEndIsTheCallers(t *testing.T) {
	causes := errors.New("the caller's cause")
	for name, tt := range map[string]struct {
		caller func(context.Context) (context.Context, context.CancelFunc)
		want   error
	}{
		"its earlier deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, time.Second, causes)
		}, context.DeadlineExceeded},
		"its cancellation": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(causes) })
			return ctx, func() {}
		}, context.Canceled},
		"a timeout further out": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			// One whose deadline is hidden, so that ours looks like the earlier.
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(fmt.Errorf("%w: %w", causes, timeout.ErrExceeded)) })
			return ctx, func() {}
		}, context.Canceled},
	} {
		for waits, call := range map[string]func(ctx context.Context) error{
			"waiting": hang,
			"not waiting": func(ctx context.Context) error {
				time.Sleep(1500 * time.Millisecond)
				return fmt.Errorf("read: %w", ctx.Err())
			},
			"returning after both": func(ctx context.Context) error {
				time.Sleep(1500 * time.Millisecond)
				err := ctx.Err()
				time.Sleep(time.Second)
				return fmt.Errorf("read: %w", err)
			},
		} {
			t.Run(name+", "+waits, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					ctx, cancel := tt.caller(t.Context())
					defer cancel()
					to := timeout.New(timeout.Config{After: 2 * time.Second})
					err := to.Run(ctx, func(ctx context.Context) error {
						err := call(ctx)
						require.ErrorIs(t, context.Cause(ctx), causes)
						return err
					})
					require.ErrorIs(t, err, tt.want)
					require.NotErrorIs(t, err, timeout.ErrExceeded)
					require.Zero(t, to.Stats().Exceeded)
				})
			})
		}
	}
}

// An outer timeout that is the earlier ends the call; the inner one does not claim
// it.
//
// Contract: 19
func TestTheTighterOfTwoIsTold(t *testing.T) {
	for _, after := range [][2]time.Duration{{1, 2}, {2, 1}, {1, 1}} {
		bubble(t, func(t *testing.T) {
			outer := timeout.New(timeout.Config{Name: "outer", After: after[0] * time.Second})
			inner := timeout.New(timeout.Config{Name: "inner", After: after[1] * time.Second})
			err := stability.Chain(outer, inner).Run(t.Context(), hang)
			var told *timeout.Error
			require.ErrorAs(t, err, &told)
			tighter := outer
			if after[1] < after[0] {
				tighter = inner
			}
			require.Equal(t, min(after[0], after[1])*time.Second, told.After)
			require.EqualValues(t, 1, tighter.Stats().Exceeded)
			require.EqualValues(t, 1, outer.Stats().Exceeded+inner.Stats().Exceeded)
		})
	}
}

// Contract: 20
func TestDeadlineIsThePolicysAndOnlyShortens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Minute})
		want := time.Now().Add(time.Minute)
		for _, callers := range []time.Duration{0, time.Second, time.Minute, time.Hour} {
			ctx, cancel := context.WithCancel(t.Context())
			if callers > 0 {
				ctx, cancel = context.WithTimeout(ctx, callers)
			}
			require.NoError(t, to.Run(ctx, func(inner context.Context) error {
				deadline, ok := inner.Deadline()
				require.True(t, ok)
				if callers > 0 && callers <= time.Minute {
					require.Equal(t, ctx, inner, "the caller's context itself")
				} else {
					require.Equal(t, want, deadline)
				}
				return nil
			}))
			cancel()
		}
	})
}

// Contract: 21
func TestCallsLeaveNothing(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	to := timeout.New(timeout.Config{After: time.Hour})
	for name, call := range map[string]func(context.Context) error{
		"nobody asks":   ok,
		"Done is asked": waits,
		"a child is made": func(ctx context.Context) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			return child.Err()
		},
		"an AfterFunc is set": func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { t.Error("ran") })()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			const calls = 100_000
			var before, after runtime.MemStats
			goroutines := runtime.NumGoroutine()
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range calls {
				require.NoError(t, to.Run(parent, call))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.Less(t, int64(after.HeapObjects)-int64(before.HeapObjects), int64(calls/10), "objects alive")
			require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
		})
	}
}

// Contract: 22
func TestResultInHandIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		v, err := timeout.Do(t.Context(), to, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "in stock", nil
		})
		require.NoError(t, err)
		require.Equal(t, "in stock", v)
		require.Equal(t, stability.Calls{Succeeded: 1}, to.Stats().Calls)
	})
}

// The value of a call that fails comes back with the error, as from fn.
func TestDoReturnsBoth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		v, err := timeout.Do(t.Context(), to, func(ctx context.Context) (int, error) { return 7, hang(ctx) })
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, 7, v)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		v, err = timeout.Do(ended, to, func(context.Context) (int, error) { return 7, nil })
		require.Equal(t, context.Canceled, err)
		require.Zero(t, v)
		v, err = timeout.Do(t.Context(), nil, func(context.Context) (int, error) { return 7, errCall })
		require.Equal(t, errCall, err)
		require.Equal(t, 7, v)
	})
}

func TestPassEndsAtTheDeadlineOrAtDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		pass, err := to.Enter(t.Context())
		require.NoError(t, err)
		<-pass.Context().Done()
		require.ErrorIs(t, pass.Done(pass.Context().Err()), timeout.ErrExceeded)

		pass, err = to.Enter(t.Context())
		require.NoError(t, err)
		require.NoError(t, pass.Done(nil))
		require.Equal(t, context.Canceled, pass.Context().Err())
		require.Equal(t, errCall, pass.Done(errCall), "only the first Done counts")
		require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1}, to.Stats().Calls)
	})
}

// A panic after the deadline is a panic: there is no error to say more in.
func TestPanicAfterTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		require.PanicsWithError(t, errCall.Error(), func() {
			_ = to.Run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); panic(errCall) })
		})
		require.Equal(t, stability.Calls{Failed: 1}, to.Stats().Calls)
		require.Zero(t, to.Stats().Exceeded)
	})
}

// A gate further in that kept the call waiting until our deadline never sent it:
// the refusal is still one, and outer breakers ignore it.
func TestRefusalAfterTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		err := to.Run(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return &stability.Rejection{Policy: "bulkhead", Reason: ctx.Err()}
		})
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.True(t, stability.Rejected(err))
		require.Equal(t, stability.Calls{Ignored: 1}, to.Stats().Calls)
		require.Zero(t, to.Stats().Exceeded)
	})
}

func TestClassifierSeesWhatRunReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen []error
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "v")
		to := timeout.New(timeout.Config{After: time.Second, Classify: func(given context.Context, err error) stability.Outcome {
			require.Equal(t, ctx, given, "the caller's context")
			seen = append(seen, err)
			return stability.Ignored
		}})
		errs := []error{to.Run(ctx, hang), to.Run(ctx, fails), to.Run(ctx, ok)}
		require.Equal(t, errs, seen)
		require.Equal(t, stability.Calls{Ignored: 3}, to.Stats().Calls)
	})
}

func TestSetAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Minute})
		for _, bad := range []time.Duration{0, -1, math.MinInt64} {
			require.Error(t, to.SetAfter(bad))
			require.Equal(t, time.Minute, to.Stats().After)
		}
		require.NoError(t, to.SetAfter(time.Second))
		began := time.Now()
		require.ErrorIs(t, to.Run(t.Context(), hang), timeout.ErrExceeded)
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, (*timeout.Timeout)(nil).SetAfter(-1))
		require.Zero(t, (*timeout.Timeout)(nil).Stats())
	})
}

// Contract: 41
func TestValidate(t *testing.T) {
	for _, after := range []time.Duration{0, -1, math.MinInt64} {
		cfg := timeout.Config{After: after}
		want := fmt.Sprintf("timeout: Config.After (%v) must be positive", after)
		require.EqualError(t, cfg.Validate(), want)
		require.PanicsWithError(t, want, func() { timeout.New(cfg) })
	}
	for _, after := range []time.Duration{1, math.MaxInt64} {
		require.NoError(t, timeout.Config{After: after}.Validate())
	}
}

// The longest duration is longer than what is left of the monotonic clock.
//
// Contract: 41
func TestLongestAfter(t *testing.T) {
	to := timeout.New(timeout.Config{After: math.MaxInt64})
	require.NoError(t, to.Run(t.Context(), func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.Greater(t, time.Until(deadline), 200*365*24*time.Hour)
		require.NoError(t, ctx.Err())
		return waits(ctx)
	}))
}

// A key that others chose stood in the error as it was: with the end of a line of a log, or
// as long as they liked.
func TestErrorQuotesWhatOthersChose(t *testing.T) {
	err := &timeout.Error{Name: "stock", Key: "a\nb", After: time.Second}
	require.EqualError(t, err, `stock["a\nb"]: timeout: exceeded 1s`)
	err.Key = strings.Repeat("k", 10_000)
	require.Less(t, len(err.Error()), 400)
}
