package retry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/retry"
)

// A budget that compared retries in flight with calls in flight let one serial
// caller make all its attempts: of one call in flight, one is always below the
// floor. It bounded a crowd and not the loop of a batch job.
//
// Contract: 30
func TestSerialCallerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Attempts: 4, Jitter: func(time.Duration) time.Duration { return 0 }})
		require.EqualValues(t, 1000+200+10, fail(1000, 1, r))
	})
}

// Base doubled by a shift became negative after some sixty attempts, or zero: the
// calls of a long outage were made without a pause, or the draw of the jitter
// panicked.
//
// Contract: 27
func TestLateAttemptsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Attempts: 200, Base: 3 * time.Millisecond, Max: time.Minute, Jitter: longest, Budget: retry.Unlimited()})
		var starts []time.Time
		fn, _ := failing(always, errCall)
		_ = r.Run(t.Context(), func(ctx context.Context) error {
			starts = append(starts, time.Now())
			return fn(ctx)
		})
		for i := 100; i < 200; i++ {
			require.Equal(t, time.Minute, starts[i].Sub(starts[i-1]), "before attempt %d", i+1)
		}
	})
}

// What was spent at the end of the oldest step of the window was forgotten with the
// step, up to a tenth of a Window too early: one that had spent its floor had it
// again after nine seconds of ten.
//
// Contract: 30
func TestNoSpanOfAWindowHasMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window, floor = 10 * time.Second, 10
		b := retry.NewBudget(retry.BudgetConfig{MinPerSecond: 1, Window: window})
		var spent []time.Time
		time.Sleep(990 * time.Millisecond)
		for range 1000 {
			for b.Spend() {
				spent = append(spent, time.Now())
			}
			time.Sleep(70 * time.Millisecond)
		}
		require.Greater(t, len(spent), 5*floor, "it refills")
		for i := floor; i < len(spent); i++ {
			require.Greater(t, spent[i].Sub(spent[i-floor]), window)
		}
	})
}
