package hedge_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/internal/policytest"
)

// A hedge in a package variable: its timers, its budget and the latencies that it keeps for
// each key serve under each clock.
//
// Contract: 55
func TestAcrossBubbles(t *testing.T) {
	use := func(t testing.TB, h *hedge.Hedge) {
		before := h.Stats()
		var second atomic.Bool
		v, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
			if !second.Swap(true) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			return 2, nil
		})
		require.NoError(t, err)
		require.Equal(t, 2, v)
		for range 30 {
			_, err := hedge.Do(t.Context(), h, func(context.Context) (int, error) { return 1, nil })
			require.NoError(t, err)
		}
		after := h.Stats()
		require.Greater(t, after.Hedges, before.Hedges)
		require.Less(t, after.Delay, time.Minute, "no difference between two clocks")
		time.Sleep(30 * time.Millisecond)
	}
	for name, cfg := range map[string]hedge.Config{
		"a fixed delay":             {Delay: time.Millisecond},
		"by the latencies":          {MaxDelay: 5 * time.Millisecond},
		"by the latencies of a key": {MaxDelay: 5 * time.Millisecond, Key: oneKey, Keys: stability.Keys{IdleFor: 20 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.AcrossBubbles(t, func(t testing.TB) *hedge.Hedge {
				h := hedge.New(cfg)
				use(t, h)
				return h
			}, use)
		})
	}
}
