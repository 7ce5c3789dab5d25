package hedge_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
)

// Calls that stood in a queue of our own were hedged, though nothing had been sent for
// them: the second one stood in the same queue, behind the first. And their time in the
// queue was a latency of the dependency's, so that the delay grew with the load.
//
// Contract: 53
func TestWaitInOurOwnQueueIsNotSlow(t *testing.T) {
	const took = 30 * time.Millisecond
	for name, gate := range map[string]func() stability.Gate{
		"bulkhead":  func() stability.Gate { return bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100}) },
		"ratelimit": func() stability.Gate { return ratelimit.New(ratelimit.Config{Rate: 10, Burst: 1, MaxWait: time.Hour}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate()
				h := hedge.New(hedge.Config{MinDelay: 2 * took, MaxDelay: 4 * took, Budget: retry.Unlimited()})
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
							return 0, g.Run(ctx, func(context.Context) error { time.Sleep(took); return nil })
						})
						if err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				require.Zero(t, h.Stats().Hedges)
				require.Equal(t, 2*took, h.Stats().Delay, "all took 30 ms, with waits of up to five seconds")
			})
		})
	}
}

// The delay goes on where the wait interrupted it.
//
// Contract: 53
func TestDelayCountsWithoutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := fixed(2)
		k := newTrack(step{after: time.Hour}, step{after: delay})
		var made atomic.Int64
		_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
			if made.Add(1) == 1 {
				time.Sleep(delay / 2)
				outer, inner := hedge.Waiting(ctx), hedge.Waiting(ctx)
				time.Sleep(time.Second)
				outer()
				outer()
				time.Sleep(time.Second)
				inner()
			}
			return k.call(ctx)
		})
		require.NoError(t, err)
		require.Equal(t, []time.Duration{2*time.Second + delay/2, 2*time.Second + delay}, k.started)
	})
}

// Ten permits, and ten first calls that were answered with a failure whose body nobody had
// read: each kept the permit that the second one of its race waited for, and nothing moved
// until somebody's time was over.
//
// Contract: 53
func TestRaceDoesNotWaitForWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 10, Queue: 10})
		h := hedge.New(hedge.Config{Delay: delay, Budget: retry.Unlimited()})
		var sent atomic.Int64
		answered := make(chan *stability.Pass, 10)
		var wg sync.WaitGroup
		began := time.Now()
		for range 10 {
			wg.Go(func() {
				pass, err := hedge.Do(t.Context(), h, func(ctx context.Context) (*stability.Pass, error) {
					pass, err := b.Enter(ctx)
					if err != nil {
						return nil, err
					}
					sent.Add(1)
					time.Sleep(2 * delay)
					return pass, errCall // with a body, which holds the permit
				})
				if err != errCall || pass == nil { //nolint:errorlint // As it was returned.
					t.Error("the failure of the call that was sent comes back whole:", err)
				}
				answered <- pass
			})
		}
		wg.Wait()
		require.Equal(t, 2*delay, time.Since(began))
		require.EqualValues(t, 10, sent.Load())
		close(answered)
		for pass := range answered {
			_ = pass.Done(errCall)
		}
		require.EqualValues(t, 10, h.Stats().Failed)
		require.Zero(t, b.Stats().InUse)
		require.Zero(t, b.Stats().Queued)
	})
}

// The second call came to the queue when the first had failed already.
//
// Contract: 53
func TestCallThatWaitsAfterTheOthersFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		began := time.Now()
		v, err := hedge.Do(t.Context(), fixed(2), func(ctx context.Context) (int64, error) {
			n := calls.Add(1)
			if n == 1 {
				time.Sleep(2 * delay)
				return n, errCall
			}
			time.Sleep(3 * delay)
			defer hedge.Waiting(ctx)()
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), hedge.ErrLost)
			return n, ctx.Err()
		})
		require.ErrorIs(t, err, errCall)
		require.EqualValues(t, 1, v)
		require.Equal(t, 4*delay, time.Since(began))
	})
}

// Where the first call waits once more after another was made for it, and that one fails,
// the failure is the result, and not the cancellation of the first.
//
// Contract: 53
func TestFailureBeforeCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		v, err := hedge.Do(t.Context(), fixed(2), func(ctx context.Context) (int64, error) {
			n := calls.Add(1)
			time.Sleep(2 * delay)
			if n == 1 {
				sent := hedge.Waiting(ctx)
				<-ctx.Done()
				sent()
				return n, ctx.Err()
			}
			return n, errCall
		})
		require.ErrorIs(t, err, errCall)
		require.EqualValues(t, 2, v)
	})
}

// A wait that begins or ends when the race is over, or that of a context without a race,
// is nobody's concern.
//
// Contract: 53
func TestWaitWithoutARace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hedge.Waiting(t.Context())()
		h := fixed(2)
		var late context.Context
		var sent func()
		_, release, err := hedge.Open(t.Context(), h, func(ctx context.Context) (int, error) {
			late, sent = ctx, hedge.Waiting(ctx)
			return 0, nil
		})
		require.NoError(t, err)
		sent()
		hedge.Waiting(late)()
		time.Sleep(time.Hour)
		require.Zero(t, h.Stats().Hedges)
		release()
		require.ErrorIs(t, late.Err(), context.Canceled)
	})
}

// Waits begin and end at the very instants at which the timer goes off and calls end.
//
// Contract: 32, 45, 53
func TestWaitsRaceWithTheTimer(t *testing.T) {
	h := hedge.New(hedge.Config{Delay: time.Microsecond, Max: 4, Budget: retry.Unlimited()})
	var wg sync.WaitGroup
	var running atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				var made atomic.Int64
				_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
					running.Add(1)
					defer running.Add(-1)
					n := made.Add(1)
					for range i % 5 {
						hedge.Waiting(ctx)()
					}
					if n == 1 {
						return 1, errCall
					}
					return 2, nil
				})
				if err != nil && err != errCall { //nolint:errorlint // As it was returned.
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, running.Load(), "no call runs after Do has returned")
	s := h.Stats()
	require.EqualValues(t, 16_000, s.Succeeded+s.Failed)
}
