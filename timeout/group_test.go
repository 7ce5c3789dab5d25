package timeout_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := timeout.NewGroup(timeout.Config{Name: "shards", After: time.Second}, stability.Keys{})
		eu, us := g.Get("eu"), g.Get("us")
		require.Same(t, eu, g.Get("eu"))
		require.NoError(t, eu.SetAfter(time.Minute))

		began := time.Now()
		err := us.Run(t.Context(), hang)
		require.Equal(t, time.Second, time.Since(began))
		require.EqualError(t, err, "shards[us]: timeout: exceeded 1s: read: context deadline exceeded")
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "us", e.Key)

		require.ErrorIs(t, eu.Run(t.Context(), hang), timeout.ErrExceeded)
		require.Equal(t, time.Second+time.Minute, time.Since(began))
		require.NoError(t, eu.Run(t.Context(), ok))
		require.Error(t, us.Run(t.Context(), fails))
		require.Equal(t, timeout.Stats{
			Calls: stability.Calls{Succeeded: 1, Failed: 3}, Exceeded: 2, After: time.Second,
		}, g.Stats())
	})
}

// A member that was given a time of its own keeps it, and the counts outlive the
// members.
//
// Contract: 42, 43
func TestGroupKeepsWhatWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := timeout.NewGroup(timeout.Config{After: time.Second}, stability.Keys{Max: 8})
		tuned, plain := g.Get("tuned"), g.Get("plain")
		require.NoError(t, tuned.SetAfter(time.Minute))
		require.ErrorIs(t, plain.Run(t.Context(), hang), timeout.ErrExceeded)
		for n := range 10_000 {
			require.NoError(t, g.Get(strconv.Itoa(n)).Run(t.Context(), ok))
		}
		require.Same(t, tuned, g.Get("tuned"))
		require.NotSame(t, plain, g.Get("plain"))
		require.Equal(t, stability.Calls{Succeeded: 10_000, Failed: 1}, g.Stats().Calls)
		require.EqualValues(t, 1, g.Stats().Exceeded)
	})
}

func TestNilGroup(t *testing.T) {
	var g *timeout.Group
	require.Nil(t, g.Get("a"))
	_, own := g.Lookup("a")
	require.False(t, own)
	require.NoError(t, g.Get("a").Run(t.Context(), ok))
	require.Zero(t, g.Stats())
}

// Contract: 41
func TestGroupConfig(t *testing.T) {
	good := timeout.Config{After: 1}
	require.PanicsWithError(t, "timeout: Config.After (0s) must be positive\ntimeout: Keys.Max (-1) must not be negative\ntimeout: Keys.IdleFor (-2ns) must not be negative", func() {
		timeout.NewGroup(timeout.Config{}, stability.Keys{Max: -1, IdleFor: -2})
	})
	require.PanicsWithError(t, "timeout: Keys.Max (-1) must not be negative", func() { timeout.NewGroup(good, stability.Keys{Max: -1}) })
	require.PanicsWithError(t, "timeout: Keys.IdleFor (-1ns) must not be negative", func() { timeout.NewGroup(good, stability.Keys{IdleFor: -1}) })
}
