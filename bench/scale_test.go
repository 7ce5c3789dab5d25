package bench

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
)

// What `make bench-report` measures at scale in real time is asked here in virtual
// time, where it is known to the nanosecond what has to come out.

// A crowd comes at one instant to one breaker and one bulkhead, whose permits decide
// when the last one is through.
func TestCrowdInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const permits, call = 1_000, 10 * time.Millisecond
		b := breaker.New(breaker.Config{})
		h := bulkhead.New(bulkhead.Config{Limit: permits, Queue: crowd})
		chain := stability.Gates(b, h)
		start := time.Now()
		var done sync.WaitGroup
		for range crowd {
			done.Go(func() {
				_ = chain.Run(t.Context(), func(context.Context) error { time.Sleep(call); return nil })
			})
		}
		done.Wait()
		require.Equal(t, crowd/permits*call, time.Since(start))
		require.EqualValues(t, crowd, b.Stats().Succeeded)
		require.EqualValues(t, crowd, h.Stats().Succeeded)
		require.Zero(t, h.Stats().InUse)
		require.Zero(t, h.Stats().Queued)
	})
}

// The crowd waits in the queue of a bulkhead and is cancelled at one instant, in which
// all have left.
func TestCrowdIsCancelledInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiting = crowd / 2
		h := bulkhead.New(bulkhead.Config{Limit: 1, Queue: waiting})
		pass, err := h.Enter(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var left sync.WaitGroup
		for range waiting {
			left.Go(func() { _ = h.Run(ctx, func(context.Context) error { return nil }) })
		}
		synctest.Wait()
		require.Equal(t, waiting, h.Stats().Queued)
		start := time.Now()
		cancel()
		left.Wait()
		require.Equal(t, start, time.Now())
		require.Zero(t, h.Stats().Queued)
		require.EqualValues(t, waiting, h.Stats().Rejected)
		require.Equal(t, 1, h.Stats().InUse)
		require.NoError(t, pass.Done(nil))
	})
}

// Keys pass through a group that has places for a thousandth of them.
func TestManyKeysInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, places = 10 * crowd, crowd / 100
		g := breaker.NewGroup(breaker.Config{Window: 100 * time.Millisecond}, stability.Keys{Max: places, IdleFor: time.Second})
		for i := range keys {
			require.NoError(t, g.Get(strconv.Itoa(i)).Run(t.Context(), func(context.Context) error { return nil }))
			if i%places == 0 {
				time.Sleep(time.Second)
				s := g.Stats()
				require.LessOrEqual(t, s.Closed+s.HalfOpen+s.Open, places+1)
			}
		}
		require.EqualValues(t, keys, g.Stats().Succeeded)
	})
}

// As many as can ask wait for a limiter of a million a second, which grants its burst
// and then one every microsecond.
func TestMillionASecondInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const asking, each = 100, crowd / 100
		l := ratelimit.New(ratelimit.Config{Rate: 1_000_000, Burst: 100})
		start := time.Now()
		var done sync.WaitGroup
		for range asking {
			done.Go(func() {
				for range each {
					require.NoError(t, l.Wait(t.Context()))
				}
			})
		}
		done.Wait()
		took, ideal := time.Since(start), (asking*each-100)*time.Microsecond
		require.InEpsilon(t, float64(ideal), float64(took), 0.01)
	})
}
