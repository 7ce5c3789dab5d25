package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

func allowed(l *ratelimit.Limiter) (n int) {
	for l.Allow() {
		n++
	}
	return n
}

// What was spent stays spent, and what is saved above a smaller burst is lost.
//
// Contract: 56
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{Name: "api", Rate: 10, Burst: 100})
		for range 60 {
			require.True(t, l.Allow())
		}
		require.NoError(t, l.Reconfigure(ratelimit.Config{Name: "another", Rate: 1, Burst: 200}))
		require.Equal(t, "api", l.Config().Name)
		require.Equal(t, 40, allowed(l), "a larger burst gives nothing away")
		time.Sleep(200 * time.Second)
		require.InDelta(t, 200, l.Stats().Tokens, 1e-6)
		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 1, Burst: 7}))
		require.Equal(t, 7, allowed(l))

		before := l.Config()
		for _, bad := range []ratelimit.Config{{}, {Rate: -1}, {Rate: 1, Burst: -1}, {Rate: 1, MaxWait: -1}} {
			require.Error(t, l.Reconfigure(bad))
		}
		require.Equal(t, before, l.Config(), "what is not usable changes nothing")

		require.NoError(t, l.SetRate(50))
		require.NoError(t, l.SetBurst(3))
		cfg := l.Config()
		require.InDelta(t, 50, cfg.Rate, 0)
		require.Equal(t, 3, cfg.Burst)
		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 1000}))
		require.Equal(t, 100, l.Stats().Burst, "a tenth of a second's worth")
		require.NoError(t, l.SetRate(2000))
		require.Equal(t, 200, l.Stats().Burst)
	})
}

// The queue keeps its order; those who cannot be served in time are told at once.
//
// Contract: 56
func TestReconfigureKeepsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{Rate: 1, Burst: 1, MaxWait: time.Hour})
		require.True(t, l.Allow())
		began := time.Now()
		var mu sync.Mutex
		var order []int
		var refused int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				err := l.Run(t.Context(), func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, i)
					return nil
				})
				if err != nil {
					require.ErrorIs(t, err, ratelimit.ErrLimited)
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 10, Burst: 1, MaxWait: time.Millisecond}))
		synctest.Wait()
		require.Equal(t, 10, l.Stats().Queued, "another MaxWait is for those to come")
		wg.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
		require.Equal(t, time.Second, time.Since(began).Round(time.Millisecond))

		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 10, Burst: 1, MaxWait: time.Minute}))
		for range 5 {
			wg.Go(func() { _ = l.Wait(t.Context()) })
			wg.Go(func() {
				if l.Run(t.Context(), func(context.Context) error { return nil }) != nil {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		began = time.Now()
		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: .01, Burst: 1}))
		synctest.Wait()
		require.Equal(t, 5, refused, "in a minute there is not one token")
		require.Zero(t, time.Since(began))
		require.Equal(t, 5, l.Stats().Queued, "those of Wait have all the time that there is")
		require.NoError(t, l.SetMode(stability.ModeOff))
		wg.Wait()
	})
}

// Contract: 56
func TestGroupReconfiguresItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ratelimit.NewGroup(ratelimit.Config{Rate: 1, Burst: 10}, stability.Keys{Max: 3})
		eu, own := g.Get("eu"), g.Get("own")
		require.NoError(t, own.SetRate(1000))
		require.True(t, eu.AllowN(4))
		require.NoError(t, g.Reconfigure(ratelimit.Config{Rate: 2, Burst: 8}))
		require.Same(t, eu, g.Get("eu"))
		require.Equal(t, 6, allowed(eu), "ten less four")
		require.InDelta(t, 2, eu.Stats().Rate, 0)
		require.InDelta(t, 1000, own.Stats().Rate, 0, "its own")
		require.Equal(t, 8, own.Stats().Burst)
		require.Equal(t, 8, g.Get("us").Stats().Burst)
		require.InDelta(t, 2, g.Stats().Rate, 0)
		require.ErrorContains(t, eu.Reconfigure(ratelimit.Config{Rate: 1}), "Group")
		require.ErrorContains(t, eu.SetMode(stability.ModeOff), "Group")
		require.Error(t, g.Reconfigure(ratelimit.Config{}))
		require.Equal(t, 8, g.Config().Burst)
		require.NoError(t, own.SetRate(2))
		require.NoError(t, g.Reconfigure(ratelimit.Config{Rate: 5, Burst: 8}))
		require.InDelta(t, 5, own.Stats().Rate, 0, "it had gone back to that of the Config")

		require.NoError(t, g.SetMode(stability.ModeOpen))
		require.False(t, eu.Allow())
		require.False(t, g.Get("later").Allow())
		require.Equal(t, stability.ModeOpen, g.Stats().Mode)
		require.NoError(t, g.SetMode(stability.ModeObserve))
		require.Equal(t, 100, func() (n int) {
			for range 100 {
				if eu.Allow() {
					n++
				}
			}
			return n
		}())
		require.Positive(t, g.Stats().Observed)
		require.Equal(t, g.Stats().Observed, eu.Stats().Observed)
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{Rate: 1, Burst: 5, MaxWait: time.Hour})
		run := func() error { return l.Run(t.Context(), func(context.Context) error { return nil }) }

		require.NoError(t, l.SetMode(stability.ModeObserve))
		began := time.Now()
		for range 12 {
			require.NoError(t, run())
		}
		require.Zero(t, time.Since(began), "nobody waits")
		s := l.Stats()
		require.Equal(t, stability.ModeObserve, s.Mode)
		require.EqualValues(t, 7, s.Observed)
		require.Equal(t, stability.Calls{Succeeded: 12}, s.Calls)

		require.NoError(t, l.SetMode(stability.ModeOff))
		for range 12 {
			require.NoError(t, run())
			require.True(t, l.AllowN(1000))
		}
		require.EqualValues(t, 7, l.Stats().Observed)

		require.NoError(t, l.SetMode(stability.ModeOpen))
		err := run()
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.ErrorIs(t, err, stability.ErrRejected)
		require.ErrorContains(t, err, "mode open")
		require.ErrorIs(t, l.WaitN(t.Context(), 3), ratelimit.ErrLimited)
		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 1e6}))
		require.False(t, l.Allow(), "a mode stays")
		require.EqualValues(t, 3, l.Stats().Rejected)

		require.NoError(t, l.SetMode(stability.ModeOn))
		time.Sleep(time.Second)
		require.True(t, l.Allow())
		require.Error(t, l.SetMode(99))

		require.NoError(t, l.Reconfigure(ratelimit.Config{Rate: 1e-3, Burst: 1, Observe: true}))
		for range 10 {
			require.NoError(t, run())
		}
	})
}

// Calls in the queue do not stay there when nobody waits any more, and give back nothing
// that they have not taken.
func TestModeEndsWaits(t *testing.T) {
	for mode, want := range map[stability.Mode]error{
		stability.ModeOff: nil, stability.ModeObserve: nil, stability.ModeOpen: ratelimit.ErrLimited,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.New(ratelimit.Config{Rate: 1e-6, Burst: 10})
				require.True(t, l.AllowN(10))
				var wg sync.WaitGroup
				ctx, cancel := context.WithCancel(t.Context())
				for range 20 {
					wg.Go(func() { require.ErrorIs(t, l.WaitN(t.Context(), 3), want) })
				}
				wg.Go(func() { require.Error(t, l.WaitN(ctx, 10)) })
				synctest.Wait()
				cancel() // at the same time
				require.NoError(t, l.SetMode(mode))
				wg.Wait()
				require.NoError(t, l.SetMode(stability.ModeOn))
				s := l.Stats()
				require.Zero(t, s.Queued)
				require.Less(t, s.Tokens, 1.0)
			})
		})
	}
}

func TestReconfigureOfNil(t *testing.T) {
	var l *ratelimit.Limiter
	var g *ratelimit.Group
	require.NoError(t, l.Reconfigure(ratelimit.Config{}))
	require.NoError(t, g.Reconfigure(ratelimit.Config{}))
	require.NoError(t, l.SetMode(stability.ModeOpen))
	require.NoError(t, g.SetMode(stability.ModeOpen))
	require.True(t, l.Allow())
	require.Zero(t, l.Config().Rate)
	require.Zero(t, g.Config().Rate)
}
