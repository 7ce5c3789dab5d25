package ratelimit

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

// A goroutine that is held up between reading the clock and taking the lock brings
// x/time/rate a reading older than the latest it has seen. It sets its own time back
// to that, and the tokens of the time between come a second time: whoever allows at
// now, then, now, then, … gets far more than there are.
//
// Contract: 23
func TestRegressionStaleReadingsMintTokens(t *testing.T) {
	const perSecond, burst, pairs = 10, 5, 100
	start := time.Now()
	theirs := rate.NewLimiter(perSecond, burst)
	var ours bucket
	ours.init(0, perSecond, burst)
	minted, granted := 0, 0
	for range pairs {
		// All of it within one second: at most 10 + 5 are to be granted.
		for _, at := range []time.Duration{time.Second, 0} {
			if theirs.AllowN(start.Add(at), 1) {
				minted++
			}
			ours.advance(at)
			if ours.take(1) {
				granted++
			}
		}
	}
	require.Greater(t, minted, 2*(perSecond+burst), "x/time/rate no longer does: the clamp may go")
	require.LessOrEqual(t, granted, perSecond+burst)
}

// Fifty callers of x/time/rate reserve a token each, and give up at once. Each
// reservation is given back only as far as no later one stands behind it, so that
// most stay taken: the next caller waits for tokens that nobody uses. Our waiters
// hold none.
//
// Contract: 24
func TestRegressionCancelledWaitsKeepTokens(t *testing.T) {
	const waiters = 50
	// cancelAll lets waiters begin to wait, the one after the other, and cancels them
	// in that order. It returns how long the next caller waits then.
	cancelAll := func(t *testing.T, wait func(context.Context) error) time.Duration {
		require.NoError(t, wait(t.Context()), "the burst of 1")
		var cancels []context.CancelFunc
		var wg sync.WaitGroup
		for range waiters {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			wg.Go(func() { require.ErrorIs(t, wait(ctx), context.Canceled) })
			synctest.Wait()
		}
		for _, cancel := range cancels {
			cancel()
			synctest.Wait()
		}
		wg.Wait()
		began := time.Now()
		require.NoError(t, wait(t.Context()))
		return time.Since(began)
	}
	synctest.Test(t, func(t *testing.T) {
		require.Greater(t, cancelAll(t, rate.NewLimiter(10, 1).Wait), 10*time.Second/10,
			"x/time/rate no longer does: it could hold the reservations")
	})
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, time.Second/10, cancelAll(t, New(Config{Rate: 10, Burst: 1}).Wait))
	})
}

// x/time/rate rounds the time that a token is short of down to whole nanoseconds,
// and grants what is less than one away. At a rate of 1e10 that is ten tokens that
// are not there; at rate.Inf, which is what the largest float64 means to it, no
// burst holds at all.
//
// Contract: 23, 26
func TestRegressionTokensOfTheNextNanosecond(t *testing.T) {
	for perSecond, more := range map[float64]int{1e10: 5, 1e300: 1000, math.MaxFloat64: 1000} {
		const burst = 3
		theirs := rate.NewLimiter(rate.Limit(perSecond), burst)
		now := time.Now()
		var ours bucket
		ours.init(0, perSecond, burst)
		early, granted := 0, 0
		for range burst + 1000 {
			if theirs.AllowN(now, 1) {
				early++
			}
			if ours.take(1) {
				granted++
			}
		}
		require.GreaterOrEqual(t, early, burst+more, "x/time/rate no longer does")
		require.Equal(t, burst, granted, "at one instant")
	}
}

// A lease that is still out when its limiter falls idle must not cost the next
// burst a token, nor add one.
//
// Contract: 23
func TestRegressionBurstAfterALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 10_000, 1000
		l := New(Config{Rate: perSecond, Burst: burst})
		drain := func() (n int) {
			for l.Allow() {
				n++
			}
			return n
		}
		require.Equal(t, burst, drain())
		for used := range 40 {
			time.Sleep(burst * time.Second / perSecond)
			for range 3 + used {
				require.True(t, l.Allow())
			}
			require.Positive(t, l.lease.Load(), "a busy limiter lends")
			time.Sleep(burst * time.Second / perSecond)
			require.Equal(t, burst, drain())
		}
	})
}

// Two tokens lent and taken back made the sum of all round up to the 34 that were
// waited for, where those inside were a rounding error short of their share: the
// alarm was set for the present instant, again and again, and in a bubble for ever.
//
// Contract: 26
func TestRegressionWaitBesideReturnedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 100, Burst: 40})
		require.True(t, l.Allow())
		require.True(t, l.AllowN(34))
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		require.NoError(t, l.WaitN(t.Context(), 34))
		require.InDelta(t, 280*time.Millisecond, time.Since(began), 2)
	})
}
