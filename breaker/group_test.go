package breaker_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// Contract: 42
func TestGroupNeverForgetsAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Name: "shards", Consecutive: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour}, stability.Keys{Max: 8, IdleFor: time.Second})
		dead := g.Get("dead")
		require.Error(t, dead.Run(t.Context(), failed))
		for i := range 100_000 {
			_ = g.Get(strconv.Itoa(i))
			if i%1_000 == 0 {
				time.Sleep(time.Second)
			}
		}
		require.Same(t, dead, g.Get("dead"))
		err := g.Get("dead").Run(t.Context(), ok)
		require.ErrorIs(t, err, breaker.ErrOpen)
		var r *stability.Rejection
		require.ErrorAs(t, err, &r)
		require.Equal(t, "shards", r.Name)
		require.Equal(t, "dead", r.Key)
	})
}

// A member that has recovered is as good as new when its ramp is over, though no
// call has come since.
//
// Contract: 42
func TestGroupForgetsARecoveredBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Consecutive: 1, OpenFor: time.Second, RampFor: time.Minute}, stability.Keys{Max: 1})
		b := g.Get("sick")
		require.Error(t, b.Run(t.Context(), failed))
		time.Sleep(time.Second)
		require.NoError(t, b.Run(t.Context(), ok))
		overflow := g.Get(stability.OverflowKey)
		time.Sleep(time.Minute - 1)
		require.Same(t, overflow, g.Get("other"), "the ramp goes on")
		time.Sleep(1)
		require.NotSame(t, overflow, g.Get("other"))
	})
}

// Contract: 42
func TestPastTheBoundOneMemberIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Consecutive: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour}, stability.Keys{Max: 3})
		for _, key := range []string{"a", "b", "c"} {
			require.Error(t, g.Get(key).Run(t.Context(), failed))
		}
		require.Same(t, g.Get("d"), g.Get("e"))
		require.Same(t, g.Get("d"), g.Get(stability.OverflowKey))
		require.NotSame(t, g.Get("a"), g.Get("d"))
	})
}

// Contract: 42
func TestOneBreakerPerKey(t *testing.T) {
	g := breaker.NewGroup(breaker.Config{}, stability.Keys{})
	members := make([]*breaker.Breaker, 1000)
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { members[i] = g.Get("key") })
	}
	wg.Wait()
	for _, m := range members {
		require.Same(t, members[0], m)
	}
}

func TestNilGroup(t *testing.T) {
	var g *breaker.Group
	require.Nil(t, g.Get("key"))
	require.NoError(t, g.Get("key").Run(t.Context(), ok))
}

// Contract: 41
func TestKeysAreValidated(t *testing.T) {
	require.PanicsWithError(t, "breaker: Keys.Max must not be negative", func() {
		breaker.NewGroup(breaker.Config{}, stability.Keys{Max: -1})
	})
	require.PanicsWithError(t, "breaker: Keys.IdleFor must not be negative", func() {
		breaker.NewGroup(breaker.Config{}, stability.Keys{IdleFor: -1})
	})
}
