package breaker_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// Contract: 3
func TestLateResultsChangeNothing(t *testing.T) {
	for name, result := range map[string]error{"success": nil, "failure": errCall} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(breaker.Config{Consecutive: 1, MinCalls: 1})
				enter := func() *stability.Pass {
					pass, err := b.Enter(t.Context())
					require.NoError(t, err)
					return pass
				}
				unchanged := func(pass *stability.Pass) {
					t.Helper()
					before := b.Stats()
					require.Equal(t, result, pass.Done(result))
					after := b.Stats()
					after.Calls = before.Calls
					require.Equal(t, before, after)
				}
				whileOpen, whileHalfOpen, whileClosedAgain := enter(), enter(), enter()
				require.Error(t, b.Run(t.Context(), failed))
				time.Sleep(time.Second)
				unchanged(whileOpen) // nor is the open time extended

				time.Sleep(b.Stats().RetryAfter)
				probe := enter()
				unchanged(whileHalfOpen)
				require.NoError(t, probe.Done(nil))
				require.Equal(t, breaker.Closed, b.State())
				unchanged(whileClosedAgain)
			})
		})
	}
}

// Contract: 6
func TestCancellationIsIgnoredAndDeadlineIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{MinCalls: 1000})
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, b.Run(ctx, hang), context.Canceled)
		require.Equal(t, breaker.Counts{}, b.Stats().Window)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Run(ctx, hang), context.DeadlineExceeded)
		require.Equal(t, breaker.Counts{Failures: 1}, b.Stats().Window)
		require.Equal(t, stability.Calls{Failed: 1, Ignored: 1}, b.Stats().Calls)
	})
}

// Contract: 7
func TestFailuresLongerThanTheWindowOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Window: 10 * time.Second})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_ = b.Run(t.Context(), func(context.Context) error {
					time.Sleep(25 * time.Second)
					return errCall
				})
			})
		}
		wg.Wait()
		require.Equal(t, breaker.Open, b.State())
	})
}

// Contract: 7
func TestWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A burst of twenty over every kind of boundary is seen whole.
		for offset := time.Duration(0); offset < 12*time.Second; offset += 333 * time.Millisecond {
			b := breaker.New(breaker.Config{Window: 10 * time.Second})
			time.Sleep(offset)
			for range 20 {
				require.Equal(t, breaker.Closed, b.State())
				_ = b.Run(t.Context(), failed)
				time.Sleep(5 * time.Millisecond)
			}
			require.Equal(t, breaker.Open, b.State(), "burst at %v", offset)
		}
		// Failures a window apart never add up.
		b := breaker.New(breaker.Config{Window: 10 * time.Second})
		for range 10 {
			for range 19 {
				_ = b.Run(t.Context(), failed)
			}
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, breaker.Closed, b.State())
	})
}

// Contract: 7
func TestIdleHourReadsZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{MinCalls: 1000})
		for range 10 {
			_ = b.Run(t.Context(), ok)
			_ = b.Run(t.Context(), failed)
		}
		require.Equal(t, breaker.Counts{Successes: 10, Failures: 10}, b.Stats().Window)
		time.Sleep(time.Hour)
		require.Equal(t, breaker.Counts{}, b.Stats().Window)
		require.Equal(t, stability.Calls{Succeeded: 10, Failed: 10}, b.Stats().Calls, "totals go on")
	})
}

// Contract: 8
func TestMinCallsHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{})
		for range 19 {
			_ = b.Run(t.Context(), failed)
			require.Equal(t, breaker.Closed, b.State())
		}
		_ = b.Run(t.Context(), failed)
		require.Equal(t, breaker.Open, b.State())
	})
}

// Contract: 8
func TestConsecutiveOpensAtLowTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Consecutive: 3})
		for _, call := range []func(context.Context) error{failed, failed, ok, failed, failed} {
			_ = b.Run(t.Context(), call)
			time.Sleep(time.Minute) // no window ever holds two calls
			require.Equal(t, breaker.Closed, b.State())
		}
		_ = b.Run(t.Context(), failed)
		require.Equal(t, breaker.Open, b.State())
	})
}

// Contract: 9
func TestSlowSuccessesOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New(breaker.Config{
			SlowCall: 100 * time.Millisecond, SlowRatio: 0.5, MinCalls: 10,
			OnChange: func(c breaker.Change) { changes = append(changes, c) },
		})
		call := func(d time.Duration) {
			require.NoError(t, b.Run(t.Context(), func(context.Context) error { time.Sleep(d); return nil }))
		}
		for range 5 {
			call(100 * time.Millisecond) // not past it
		}
		for range 4 {
			call(101 * time.Millisecond)
		}
		require.Equal(t, breaker.Closed, b.State())
		call(101 * time.Millisecond)
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, breaker.CauseSlowRatio, changes[0].Cause)
	})
}

// The successes of the last moments count, too: for MinCalls and against the ratio.
//
// Contract: 8
func TestRatioCountsSuccessesOfTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(b *breaker.Breaker, n int, call func(context.Context) error) {
			for range n {
				_ = b.Run(t.Context(), call)
			}
		}
		b := breaker.New(breaker.Config{FailureRatio: 0.05})
		run(b, 19, ok)
		run(b, 1, failed)
		require.Equal(t, breaker.Open, b.State())

		b = breaker.New(breaker.Config{})
		run(b, 100, ok)
		run(b, 90, failed)
		run(b, 50, ok)
		run(b, 59, failed)
		require.Equal(t, breaker.Closed, b.State(), "149 of 299")
		run(b, 1, failed)
		require.Equal(t, breaker.Open, b.State(), "150 of 300")
	})
}

// What the ratio rule says is what a ratio of what the window holds is.
func TestRatioCountsSuccesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{FailureRatio: 0.1})
		for range 900 {
			_ = b.Run(t.Context(), ok)
		}
		for range 99 {
			_ = b.Run(t.Context(), failed)
		}
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, breaker.Counts{Successes: 900, Failures: 99}, b.Stats().Window)
		_ = b.Run(t.Context(), failed)
		require.Equal(t, breaker.Open, b.State())
	})
}
