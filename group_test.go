package stability_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/timeout"
)

// A till is a type of a user's own.
type till struct {
	key    string
	shared bool
	cash   int
}

func tills(keys stability.Keys) *stability.Group[till] {
	return stability.NewGroup(keys, stability.Members[till]{
		Create: func(t *till, key string, shared bool) { t.key, t.shared = key, shared },
		Key:    func(t *till) string { return t.key },
		Blank:  func(t *till) bool { return t.cash == 0 },
	})
}

// Contract: 42
func TestGroupOfAUsersOwn(t *testing.T) {
	g := tills(stability.Keys{Max: 3})
	for n := range 3 {
		g.Get(strconv.Itoa(n)).cash = 1
	}
	first := g.Get("1")
	require.Same(t, first, g.Get("1"))
	require.True(t, g.Get("more").shared)
	_, ok := g.Lookup("more")
	require.False(t, ok)
	own, ok := g.Lookup("2")
	require.True(t, ok)
	require.Same(t, g.Get("2"), own)
	require.Equal(t, stability.GroupStats{Keys: 3, Overflowed: 1}, g.Stats())
	require.Equal(t, 3, g.Len())
	keys := slices.Sorted(maps.Keys(maps.Collect(g.All())))
	require.Equal(t, []string{"0", "1", "2", stability.OverflowKey}, keys)
	for key, member := range g.All() {
		require.Equal(t, key, member.key)
		break // in the midst of it
	}
	g.Get("0").cash = 0
	require.False(t, g.Get("more").shared, "in the place of the blank one")

	require.Panics(t, func() { tills(stability.Keys{Max: -1}) })
	require.Panics(t, func() { stability.NewGroup(stability.Keys{}, stability.Members[till]{}) })
	never := stability.NewGroup(stability.Keys{Max: 1}, stability.Members[till]{
		Create: func(t *till, key string, _ bool) { t.key = key },
		Key:    func(t *till) string { return t.key },
	})
	kept := never.Get("a")
	never.Get("b")
	require.Same(t, kept, never.Get("a"), "nothing is forgotten without a Blank")
}

func TestNilGroup(t *testing.T) {
	var g *stability.Group[breaker.Breaker]
	require.Nil(t, g.Get("a"))
	require.Nil(t, g.Shared())
	_, ok := g.Lookup("a")
	require.False(t, ok)
	require.Zero(t, g.Len())
	require.Zero(t, g.Stats())
	require.Empty(t, maps.Collect(g.All()))
	require.NoError(t, g.By(nil).Run(t.Context(), func(context.Context) error { return nil }))
}

type tenant struct{}

func byTenant(ctx context.Context) string {
	name, _ := ctx.Value(tenant{}).(string)
	return name
}

// A group is a gate, in which each call meets the member of its key, alone and in chains.
//
// Contract: 3, 42
func TestGroupIsAGate(t *testing.T) {
	breakers := breaker.NewGroup(breaker.Config{Consecutive: 1}, stability.Keys{})
	bulkheads := bulkhead.NewGroup(bulkhead.Config{Limit: 1}, stability.Keys{})
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 1e-9, Burst: 3}, stability.Keys{})
	timeouts := timeout.NewGroup(timeout.Config{After: 1e9}, stability.Keys{})
	chain := stability.Gates(limits.By(byTenant), bulkheads.By(byTenant), breakers.By(byTenant), timeouts.By(byTenant))
	as := func(name string) context.Context { return context.WithValue(t.Context(), tenant{}, name) }

	pass, err := chain.Enter(as("a"))
	require.NoError(t, err)
	_, err = chain.Enter(as("a"))
	require.ErrorIs(t, err, bulkhead.ErrFull)
	require.NoError(t, chain.Run(as("b"), ok), "the bulkhead is another's")
	require.ErrorIs(t, pass.Done(errCall), errCall)
	err = chain.Run(as("a"), ok)
	require.ErrorIs(t, err, breaker.ErrOpen)
	var r *stability.Rejection
	require.ErrorAs(t, err, &r)
	require.Equal(t, "a", r.Key)
	require.ErrorIs(t, chain.Run(as("a"), ok), ratelimit.ErrLimited)
	require.NoError(t, chain.Run(as("b"), ok))
	require.Equal(t, 2, breakers.Len())
	for key := range bulkheads.All() {
		require.Contains(t, []string{"a", "b"}, key)
	}

	by := breakers.By(byTenant)
	require.ErrorIs(t, by.Run(as("a"), ok), breaker.ErrOpen)
	pass, err = by.Enter(as("b"))
	require.NoError(t, err)
	require.NoError(t, pass.Done(nil))
	require.PanicsWithValue(t, "stability: Group.By: *stability_test.till is no Gate", func() { tills(stability.Keys{}).By(byTenant) })
	var none *breaker.Group
	require.NoError(t, none.By(byTenant).Run(t.Context(), ok))
	require.Zero(t, none.Len())
	require.Empty(t, maps.Collect(none.All()))
}

// A gate of a group costs a call no allocation more than that of its member does.
func TestGroupGateDoesNotAllocate(t *testing.T) {
	g := breaker.NewGroup(breaker.Config{}, stability.Keys{})
	by := g.By(func(context.Context) string { return "a" })
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = by.Run(ctx, ok) }))
}
