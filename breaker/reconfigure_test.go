package breaker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

func fail(t *testing.T, b *breaker.Breaker, n int) {
	t.Helper()
	for range n {
		require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
	}
}

// The window is kept, and judged by the new numbers at the next result.
//
// Contract: 56
func TestReconfigureThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Name: "db"})
		fail(t, b, 10)
		require.NoError(t, b.Reconfigure(breaker.Config{Name: "another", MinCalls: 5}))
		require.Equal(t, "db", b.Config().Name)
		require.Equal(t, 5*time.Second, b.Config().OpenFor, "the default")
		require.Equal(t, breaker.Closed, b.State(), "not at the change")
		require.Equal(t, breaker.Counts{Failures: 10}, b.Stats().Window)
		fail(t, b, 1)
		require.Equal(t, breaker.Open, b.State())

		before := b.Config()
		for _, bad := range []breaker.Config{{FailureRatio: 2}, {Window: 1}, {OpenFor: -1}, {SlowRatio: .5}, {OpenFor: 2, MaxOpenFor: 1}} {
			require.Error(t, b.Reconfigure(bad))
		}
		require.Equal(t, before.MinCalls, b.Config().MinCalls, "what is not usable changes nothing")
		require.NoError(t, b.Reconfigure(before))
		require.EqualValues(t, 11, b.Stats().Failed)
	})
}

// A row of failures begins with the Config that asks for one.
//
// Contract: 56
func TestReconfigureConsecutive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Consecutive: 5})
		fail(t, b, 4)
		require.NoError(t, b.Reconfigure(breaker.Config{}))
		require.NoError(t, b.Run(t.Context(), ok))
		require.NoError(t, b.Reconfigure(breaker.Config{Consecutive: 5}))
		fail(t, b, 4)
		require.Equal(t, breaker.Closed, b.State())
		fail(t, b, 1)
		require.Equal(t, breaker.Open, b.State())
	})
}

// The state and the end of the open time are kept. Counts start again with another Window.
//
// Contract: 56
func TestReconfigureTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		listen := func(c breaker.Change) { changes = append(changes, c) }
		never := func(time.Duration) time.Duration { return 0 }
		b := breaker.New(breaker.Config{OpenFor: 10 * time.Second, Jitter: never, OnChange: listen})
		fail(t, b, 20)
		require.Equal(t, 10*time.Second, b.Stats().RetryAfter)
		require.NoError(t, b.Reconfigure(breaker.Config{OpenFor: time.Second, MaxOpenFor: time.Second, Window: time.Minute, Jitter: never, OnChange: listen}))
		time.Sleep(4 * time.Second)
		require.Equal(t, 6*time.Second, b.Stats().RetryAfter, "that of the present opening is kept")
		time.Sleep(6 * time.Second)
		require.NoError(t, b.Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
		fail(t, b, 19)
		require.NoError(t, b.Reconfigure(breaker.Config{OpenFor: time.Second, Window: time.Minute, Jitter: never, OnChange: listen}))
		require.Equal(t, breaker.Counts{Failures: 19}, b.Stats().Window)

		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		since := b.Stats().Since
		require.NoError(t, b.Reconfigure(breaker.Config{OpenFor: time.Second, Window: time.Second, Jitter: never, OnChange: listen}))
		require.Zero(t, b.Stats().Window)
		require.Equal(t, since, b.Stats().Since)
		_ = pass.Done(errCall)
		require.Zero(t, b.Stats().Window, "a result of before does not count in it")
		require.EqualValues(t, 40, b.Stats().Failed)
		fail(t, b, 20)
		require.Equal(t, time.Second, b.Stats().RetryAfter)
		requireAlternating(t, changes)
		require.Len(t, changes, 4)
	})
}

// A ramp goes on through another Window.
//
// Contract: 56
func TestReconfigureDuringARamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{RampFor: time.Minute})
		time.Sleep(time.Minute)
		require.NoError(t, b.Run(t.Context(), ok))
		share := func() (admitted int) {
			for range 100 {
				if b.Run(t.Context(), ok) == nil {
					admitted++
				}
			}
			return admitted
		}
		time.Sleep(30 * time.Second)
		require.InDelta(t, 55, share(), 3)
		require.NoError(t, b.Reconfigure(breaker.Config{Window: time.Minute}))
		require.InDelta(t, 55, share(), 3)
		time.Sleep(31 * time.Second)
		require.Equal(t, 100, share())
	})
}

// A call that began while no call was slow is not slow, however long it takes.
//
// Contract: 56
func TestReconfigureSlowCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{MinCalls: 1})
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		require.NoError(t, b.Reconfigure(breaker.Config{MinCalls: 1, SlowCall: time.Second}))
		time.Sleep(time.Hour)
		require.NoError(t, pass.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
		require.NoError(t, b.Run(t.Context(), func(context.Context) error { time.Sleep(time.Hour); return nil }))
		require.Equal(t, breaker.Open, b.State())
	})
}

// Contract: 56
func TestReconfigureObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{})
		require.Error(t, b.Run(t.Context(), ok))
		require.NoError(t, b.Reconfigure(breaker.Config{Observe: true}))
		require.NoError(t, b.Run(t.Context(), ok))
		require.EqualValues(t, 1, b.Stats().Observed)
		require.NoError(t, b.Reconfigure(breaker.Config{}))
		require.Error(t, b.Run(t.Context(), ok))
		require.EqualValues(t, 1, b.Stats().Observed)
		require.EqualValues(t, 2, b.Stats().Rejected)
	})
}

// Contract: 56
func TestGroupReconfiguresItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{}, stability.Keys{Max: 4})
		eu, held := g.Get("eu"), g.Get("held")
		held.ForceOpen()
		fail(t, eu, 10)
		require.NoError(t, g.Reconfigure(breaker.Config{MinCalls: 11}))
		require.Same(t, eu, g.Get("eu"))
		fail(t, eu, 1)
		require.Equal(t, breaker.Open, eu.State())
		fail(t, g.Get("us"), 10)
		require.Equal(t, breaker.Closed, g.Get("us").State())
		fail(t, g.Get("us"), 1)
		require.Equal(t, breaker.Open, g.Get("us").State())
		require.ErrorIs(t, held.Run(t.Context(), ok), breaker.ErrForcedOpen)
		require.Equal(t, 11, g.Config().MinCalls)
		require.ErrorContains(t, eu.Reconfigure(breaker.Config{}), "Group")
		require.ErrorContains(t, eu.SetMode(stability.ModeOff), "Group")
		require.Error(t, g.Reconfigure(breaker.Config{MinCalls: -1}))

		require.NoError(t, g.SetMode(stability.ModeOpen))
		for _, key := range []string{"eu", "held", "later"} {
			require.ErrorIs(t, g.Get(key).Run(t.Context(), ok), breaker.ErrForcedOpen, key)
		}
		require.Equal(t, stability.ModeOpen, g.Stats().Mode)
		g.Get("held").ForceClosed()
		require.NoError(t, g.Get("held").Run(t.Context(), ok), "what is said of one member comes after")
		require.NoError(t, g.SetMode(stability.ModeOff))
		for _, key := range []string{"eu", "held", "later"} {
			require.NoError(t, g.Get(key).Run(t.Context(), ok), key)
			require.Equal(t, stability.ModeOff, g.Get(key).Stats().Mode, key)
		}
		require.NoError(t, g.SetMode(stability.ModeObserve))
		fail(t, eu, 11)
		require.Equal(t, breaker.Open, eu.State())
		require.NoError(t, eu.Run(t.Context(), ok))
		require.NoError(t, g.SetMode(stability.ModeOn))
		require.ErrorIs(t, eu.Run(t.Context(), ok), breaker.ErrOpen)
		require.NotErrorIs(t, eu.Run(t.Context(), ok), breaker.ErrForcedOpen)
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New(breaker.Config{OnChange: func(c breaker.Change) { changes = append(changes, c) }})
		require.NoError(t, b.SetMode(stability.ModeOpen))
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrForcedOpen)
		cfg := b.Config()
		cfg.MinCalls = 3
		require.NoError(t, b.Reconfigure(cfg))
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrForcedOpen, "a mode stays")
		require.NoError(t, b.SetMode(stability.ModeOff))
		fail(t, b, 30)
		require.Equal(t, stability.ModeOff, b.Stats().Mode)
		require.NoError(t, b.SetMode(stability.ModeOn))
		require.Equal(t, breaker.Open, b.State(), "it takes up what the calls have shown")
		require.NoError(t, b.SetMode(stability.ModeObserve))
		require.NoError(t, b.Run(t.Context(), ok))
		require.Equal(t, stability.ModeObserve, b.Stats().Mode)
		require.Equal(t, breaker.Open, b.State())
		b.ForceOpen()
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrForcedOpen)
		require.Equal(t, stability.ModeOpen, b.Stats().Mode)
		b.Auto()
		require.Equal(t, stability.ModeObserve, b.Stats().Mode)
		require.Error(t, b.SetMode(99))
		requireAlternating(t, changes)

		var none *breaker.Breaker
		var group *breaker.Group
		require.NoError(t, none.SetMode(stability.ModeOpen))
		require.NoError(t, group.SetMode(stability.ModeOpen))
		require.NoError(t, none.Reconfigure(breaker.Config{MinCalls: -1}))
		require.NoError(t, group.Reconfigure(breaker.Config{MinCalls: -1}))
		require.Zero(t, none.Config().MinCalls)
		require.Zero(t, group.Config().MinCalls)
	})
}

// A listener may steer the breaker that it listens to.
//
// Contract: 13, 56
func TestListenerReconfigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		changes := 0
		b = breaker.New(breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
			changes++
			cfg := b.Config()
			cfg.Consecutive = 2
			require.NoError(t, b.Reconfigure(cfg))
			if c.To == breaker.Open {
				require.NoError(t, b.SetMode(stability.ModeOff))
			}
		}})
		fail(t, b, 1)
		require.Equal(t, 2, changes)
		fail(t, b, 10)
		require.Equal(t, breaker.Closed, b.State())
	})
}

// However often the configuration changes under load, each call ends once, changes alternate,
// and no probe's slot is lost.
//
// Contract: 11, 45, 56
func TestReconfigureUnderLoad(t *testing.T) {
	var mu sync.Mutex
	var changes []breaker.Change
	base := breaker.Config{MinCalls: 2, OpenFor: time.Microsecond, MaxOpenFor: time.Millisecond, OnChange: func(c breaker.Change) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, c)
	}}
	b := breaker.New(base)
	var started, refused atomic.Int64
	var wg, steering sync.WaitGroup
	var stop atomic.Bool
	for who := range 2 {
		steering.Go(func() {
			for n := 0; !stop.Load(); n++ {
				cfg := base
				cfg.Consecutive, cfg.RampFor, cfg.Probes = n%3, time.Duration(n%2)*time.Millisecond, n%4
				cfg.Window = time.Duration(1+n%2) * 10 * time.Second
				cfg.SlowCall = time.Duration(n%5/4) * time.Nanosecond
				cfg.Observe = n%7 == 0
				err := b.Reconfigure(cfg)
				if n%11 == who {
					err = b.SetMode(stability.Mode(n % 4))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for g := range 16 {
		wg.Go(func() {
			for n := range 2000 {
				err := b.Run(context.Background(), func(context.Context) error {
					started.Add(1)
					if (n+g)%3 == 0 {
						return errCall
					}
					return nil
				})
				if stability.Rejected(err) {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	steering.Wait()
	s := b.Stats()
	require.Equal(t, started.Load(), s.Started())
	require.Equal(t, refused.Load(), s.Rejected)
	mu.Lock()
	requireAlternating(t, changes)
	mu.Unlock()
	require.NoError(t, b.SetMode(stability.ModeOn))
	require.NoError(t, b.Reconfigure(breaker.Config{OpenFor: 1, MaxOpenFor: 1}))
	b.Reset()
	require.NoError(t, b.Run(context.Background(), ok))
	require.Zero(t, b.Stats().Probing)
}
