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
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
)

// made returns how many calls h makes for one that takes so long.
func made(t *testing.T, h *hedge.Hedge, takes time.Duration) int {
	t.Helper()
	var mu sync.Mutex
	n := 0
	_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
		mu.Lock()
		n++
		mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		return 0, ctx.Err()
	})
	require.NoError(t, err)
	return n
}

// Contract: 56
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Name: "api", Delay: time.Second, Max: 5, Budget: retry.Unlimited()})
		require.Equal(t, 4, made(t, h, 3500*time.Millisecond))
		var changed atomic.Bool
		_, err := hedge.Do(t.Context(), h, func(context.Context) (int, error) {
			if changed.CompareAndSwap(false, true) {
				require.NoError(t, h.Reconfigure(hedge.Config{Name: "another", Delay: time.Second, Max: 1}))
				time.Sleep(1500 * time.Millisecond)
			}
			return 0, nil
		})
		require.NoError(t, err)
		require.EqualValues(t, 3+1, h.Stats().Hedges, "a race keeps the configuration that it began with")
		require.Equal(t, 1, made(t, h, time.Minute))

		require.Error(t, h.Reconfigure(hedge.Config{Max: -1}))
		require.Error(t, h.Reconfigure(hedge.Config{Delay: 1, Percentile: .5}))
		require.Equal(t, time.Second, h.Config().Delay, "what is not usable changes nothing")
		require.Equal(t, "api", h.Config().Name)

		// From a fixed delay to a learned one, and another percentile of what was learned.
		require.NoError(t, h.Reconfigure(hedge.Config{Percentile: .9, Budget: retry.Unlimited(), MaxDelay: time.Hour}))
		require.Equal(t, time.Hour, h.Stats().Delay)
		for n := range 100 {
			_ = made(t, h, time.Duration(n+1)*time.Millisecond)
		}
		require.InDelta(t, 90, h.Stats().Delay.Milliseconds(), 6)
		require.NoError(t, h.Reconfigure(hedge.Config{Percentile: .5, Budget: retry.Unlimited(), MaxDelay: time.Hour}))
		_ = made(t, h, 50*time.Millisecond)
		require.InDelta(t, 50, h.Stats().Delay.Milliseconds(), 4)
		require.NoError(t, h.Reconfigure(hedge.Config{Delay: time.Minute}))
		require.Equal(t, time.Minute, h.Stats().Delay)
	})
}

// Contract: 56
func TestReconfigureWithKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Key: func(context.Context) string { return "eu" }, Budget: retry.Unlimited(), MaxDelay: time.Hour})
		for range 30 {
			_ = made(t, h, time.Second)
		}
		delay := h.Stats().Delay
		require.InDelta(t, time.Second, delay, float64(time.Second/16))
		require.NoError(t, h.Reconfigure(hedge.Config{Percentile: .5, MaxDelay: time.Hour}))
		require.Equal(t, delay, h.Stats().Delay, "what is known stays")
		require.NotNil(t, h.Config().Key)
	})
}

// The hedge's own budget keeps what it has.
//
// Contract: 29, 56
func TestReconfigureKeepsTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: time.Millisecond, Max: 100})
		require.Equal(t, 11, made(t, h, time.Second))
		require.NoError(t, h.Reconfigure(hedge.Config{Delay: time.Millisecond, Max: 50}))
		require.Equal(t, 1, made(t, h, time.Second))
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: time.Second, Budget: retry.Unlimited()})
		require.NoError(t, h.SetMode(stability.ModeOff))
		require.Equal(t, 1, made(t, h, time.Hour))
		require.NoError(t, h.Reconfigure(hedge.Config{Delay: time.Millisecond, Budget: retry.Unlimited()}))
		require.Equal(t, 1, made(t, h, time.Hour), "a mode stays")
		require.Equal(t, stability.ModeOff, h.Stats().Mode)
		require.Error(t, h.SetMode(stability.ModeOpen))
		require.Error(t, h.SetMode(stability.ModeObserve))
		require.NoError(t, h.SetMode(stability.ModeOn))
		require.Equal(t, 2, made(t, h, time.Hour))
		var none *hedge.Hedge
		require.NoError(t, none.SetMode(stability.ModeOff))
		require.NoError(t, none.Reconfigure(hedge.Config{Max: -1}))
		require.Equal(t, 1, none.Config().Max)
	})
}
