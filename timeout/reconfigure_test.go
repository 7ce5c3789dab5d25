package timeout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

// sleep returns after that time, with the cause of its context where that ends before.
func sleep(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Contract: 56
func TestReconfigureIsForNewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{Name: "db", After: time.Second})
		var wg sync.WaitGroup
		wg.Go(func() {
			began := time.Now()
			require.ErrorIs(t, to.Run(t.Context(), sleep(time.Hour)), timeout.ErrExceeded)
			require.Equal(t, time.Second, time.Since(began), "a call keeps the time that it began with")
		})
		synctest.Wait()
		require.NoError(t, to.Reconfigure(timeout.Config{Name: "another", After: time.Minute}))
		require.Equal(t, "db", to.Config().Name)
		require.Equal(t, time.Minute, to.Stats().After)
		began := time.Now()
		require.ErrorIs(t, to.Run(t.Context(), sleep(time.Hour)), timeout.ErrExceeded)
		require.Equal(t, time.Minute, time.Since(began))
		wg.Wait()

		require.ErrorContains(t, to.Reconfigure(timeout.Config{After: -1}), "After")
		require.Equal(t, time.Minute, to.Config().After, "what is not usable changes nothing")
		require.NoError(t, to.SetAfter(time.Hour))
		cfg := to.Config()
		require.Equal(t, time.Hour, cfg.After)
		cfg.Classify = func(context.Context, error) stability.Outcome { return stability.Ignored }
		require.NoError(t, to.Reconfigure(cfg))
		before := to.Stats().Ignored
		_ = to.Run(t.Context(), sleep(1))
		require.Equal(t, before+1, to.Stats().Ignored)
		require.Equal(t, time.Hour, to.Stats().After)
	})
}

// Contract: 56
func TestGroupReconfiguresItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := timeout.NewGroup(timeout.Config{After: time.Second}, stability.Keys{})
		eu, own := g.Get("eu"), g.Get("own")
		require.NoError(t, own.SetAfter(time.Hour))
		require.NoError(t, g.Reconfigure(timeout.Config{After: time.Minute}))
		require.Same(t, eu, g.Get("eu"))
		require.Equal(t, time.Minute, eu.Stats().After)
		require.Equal(t, time.Hour, own.Stats().After, "its own")
		require.Equal(t, time.Minute, g.Get("us").Stats().After)
		require.Equal(t, time.Minute, g.Stats().After)

		require.ErrorContains(t, eu.Reconfigure(timeout.Config{After: 1}), "Group")
		require.ErrorContains(t, eu.SetMode(stability.ModeOff), "Group")
		require.Error(t, g.Reconfigure(timeout.Config{}))
		require.Equal(t, time.Minute, g.Config().After)

		require.NoError(t, g.SetMode(stability.ModeObserve))
		require.NoError(t, eu.Run(t.Context(), sleep(time.Hour)))
		require.EqualValues(t, 1, g.Stats().Observed)
		require.EqualValues(t, 1, eu.Stats().Observed)
		require.Zero(t, g.Get("us").Stats().Observed)
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := timeout.New(timeout.Config{After: time.Second})
		run := func(d time.Duration) error { return to.Run(t.Context(), sleep(d)) }

		require.NoError(t, to.SetMode(stability.ModeObserve))
		require.NoError(t, run(time.Hour))
		require.NoError(t, run(time.Millisecond))
		s := to.Stats()
		require.Equal(t, stability.ModeObserve, s.Mode)
		require.Equal(t, stability.Calls{Succeeded: 2}, s.Calls)
		require.EqualValues(t, 1, s.Observed)
		require.Zero(t, s.Exceeded)

		require.NoError(t, to.Reconfigure(timeout.Config{After: time.Minute}))
		require.Equal(t, stability.ModeObserve, to.Stats().Mode, "a mode stays")

		require.NoError(t, to.SetMode(stability.ModeOff))
		require.NoError(t, run(time.Hour))
		require.Equal(t, stability.Calls{Succeeded: 2}, to.Stats().Calls)

		require.ErrorContains(t, to.SetMode(stability.ModeOpen), "open")
		require.Equal(t, stability.ModeOff, to.Stats().Mode)
		require.Error(t, to.SetMode(99))

		require.NoError(t, to.SetMode(stability.ModeOn))
		require.ErrorIs(t, run(time.Hour), timeout.ErrExceeded)

		require.NoError(t, to.Reconfigure(timeout.Config{After: time.Minute, Observe: true}))
		require.NoError(t, run(time.Hour))
		require.EqualValues(t, 2, to.Stats().Observed)

		// The caller's own deadline is not this timeout's.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, to.Run(ctx, sleep(time.Hour)), context.DeadlineExceeded)
		require.EqualValues(t, 2, to.Stats().Observed)

		// Also where the call does not return.
		require.Panics(t, func() {
			_ = to.Run(t.Context(), func(context.Context) error {
				time.Sleep(time.Hour)
				panic("late")
			})
		})
		require.EqualValues(t, 3, to.Stats().Observed)
	})
}

// However often the configuration changes under load, each call is bounded by one that was in
// force, and each is counted once.
//
// Contract: 56
func TestReconfigureUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const goroutines, calls = 50, 100
		to := timeout.New(timeout.Config{After: time.Second})
		errOther := errors.New("other")
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range calls {
					began := time.Now()
					err := to.Run(t.Context(), sleep(time.Hour))
					took := time.Since(began)
					require.NotErrorIs(t, err, errOther)
					require.Contains(t, []time.Duration{time.Second, 2 * time.Second, time.Hour}, took)
				}
			})
		}
		done := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(n%700) * time.Millisecond):
				}
				_ = to.Reconfigure(timeout.Config{After: time.Duration(1+n%2) * time.Second, Observe: n%5 == 0})
				_ = to.SetMode(stability.Mode(n % 2))
			}
		}()
		wg.Wait()
		close(done)
		s := to.Stats()
		require.EqualValues(t, goroutines*calls, s.Started())
	})
}

func TestReconfigureOfNil(t *testing.T) {
	var to *timeout.Timeout
	var g *timeout.Group
	require.NoError(t, to.Reconfigure(timeout.Config{}))
	require.NoError(t, g.Reconfigure(timeout.Config{}))
	require.NoError(t, to.SetMode(stability.ModeOff))
	require.NoError(t, g.SetMode(stability.ModeOff))
	require.Zero(t, to.Config().After)
	require.Zero(t, g.Config().After)
}
