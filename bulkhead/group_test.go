package bulkhead_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/points"
)

func enter(t testing.TB, g stability.Gate) *stability.Pass {
	t.Helper()
	pass, err := g.Enter(context.Background())
	require.NoError(t, err)
	return pass
}

func requireRefused(t require.TestingT, err error) *stability.Rejection {
	require.ErrorIs(t, err, bulkhead.ErrFull)
	require.ErrorIs(t, err, stability.ErrRejected)
	var r *stability.Rejection
	require.ErrorAs(t, err, &r)
	return r
}

func TestGroup(t *testing.T) {
	g := bulkhead.NewGroup(bulkhead.Config{Name: "shards", Limit: 2, Queue: 3}, stability.Keys{})
	eu, us := g.Get("eu"), g.Get("us")
	require.Same(t, eu, g.Get("eu"))
	require.NotSame(t, eu, us)

	first, second := enter(t, eu), enter(t, eu)
	require.Equal(t, bulkhead.Stats{Limit: 2, InUse: 2, QueueLimit: 3}, eu.Stats())
	require.NoError(t, us.Run(t.Context(), ok), "one key's calls leave another's alone")
	require.Equal(t, bulkhead.Stats{
		Calls: stability.Calls{Succeeded: 1}, Limit: 4, InUse: 2, QueueLimit: 6,
	}, g.Stats())
	require.NoError(t, first.Done(nil))
	require.NoError(t, second.Done(nil))
	require.Equal(t, stability.Calls{Succeeded: 3}, g.Stats().Calls)
}

func TestGroupRefusalNamesTheKey(t *testing.T) {
	g := bulkhead.NewGroup(bulkhead.Config{Name: "shards", Limit: 1}, stability.Keys{Max: 1})
	pass := enter(t, g.Get("eu"))
	defer func() { _ = pass.Done(nil) }()
	r := requireRefused(t, g.Get("eu").Run(t.Context(), ok))
	require.Equal(t, &stability.Rejection{Policy: "bulkhead", Name: "shards", Key: "eu", Reason: bulkhead.ErrFull}, r)

	over := enter(t, g.Get("us"))
	defer func() { _ = over.Done(nil) }()
	require.Equal(t, stability.OverflowKey, requireRefused(t, g.Get("us").Run(t.Context(), ok)).Key)
	_, own := g.Lookup("us")
	require.False(t, own)
	b, own := g.Lookup("eu")
	require.True(t, own)
	require.Same(t, g.Get("eu"), b)
	require.EqualValues(t, 2, g.Stats().Overflowed)
}

// Calls that hang held all places of a Group, and one more host whose calls hung filled the
// bulkhead that every other host had to share: none of them could be called.
//
// Contract: 42
func TestHangingHostShutsOutASixteenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, hosts = 200, 1000
		g := bulkhead.NewGroup(bulkhead.Config{Limit: limit}, stability.Keys{})
		ctx, cancel := context.WithCancel(t.Context())
		hang := func(key string) {
			go func() {
				_ = g.Get(key).Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
			}()
		}
		for n := range 1024 {
			hang("dead " + strconv.Itoa(n))
		}
		synctest.Wait()
		for range limit {
			hang("one more")
		}
		synctest.Wait()
		let := 0
		for n := range hosts {
			if g.Get("other "+strconv.Itoa(n)).Run(t.Context(), ok) == nil {
				let++
			}
		}
		require.Greater(t, let, hosts*17/20, "about fifteen of sixteen")
		require.Less(t, let, hosts, "a sixteenth shares its bulkhead")
		require.EqualValues(t, limit+hosts, g.Stats().Overflowed)
		cancel()
	})
}

func TestNilGroup(t *testing.T) {
	var g *bulkhead.Group
	require.Nil(t, g.Get("a"))
	_, own := g.Lookup("a")
	require.False(t, own)
	require.NoError(t, g.Get("a").Run(t.Context(), ok))
	require.Zero(t, g.Stats())
}

// The list of points says what is configured for each key, however many there are.
func TestPointOfAGroup(t *testing.T) {
	name := fmt.Sprintf("%s %p", t.Name(), t) // of this run of the test alone
	g := bulkhead.NewGroup(bulkhead.Config{Name: name, Limit: 7, Queue: 3}, stability.Keys{})
	for _, keys := range []int{0, 1, 3} {
		for i := range keys {
			g.Get(strconv.Itoa(i))
		}
		all := points.List()
		at := slices.IndexFunc(all, func(p points.Point) bool { return p.Name == name })
		require.GreaterOrEqual(t, at, 0)
		limit, _ := all[at].Setting("limit")
		require.Equal(t, points.Setting{Name: "limit", Value: "7", Unit: "calls"}, limit)
		require.Equal(t, keys, all[at].Keys)
	}
	runtime.KeepAlive(g)
}

// Contract: 41
func TestGroupConfig(t *testing.T) {
	good := bulkhead.Config{Limit: 1}
	require.PanicsWithError(t, "bulkhead: Config.Limit (0) must be positive", func() { bulkhead.NewGroup(bulkhead.Config{}, stability.Keys{}) })
	require.PanicsWithError(t, "bulkhead: Keys.Max (-1) must not be negative", func() { bulkhead.NewGroup(good, stability.Keys{Max: -1}) })
	require.PanicsWithError(t, "bulkhead: Keys.IdleFor (-1ns) must not be negative", func() { bulkhead.NewGroup(good, stability.Keys{IdleFor: -1}) })
}

// A member in use, with waiters or with a limit of its own is not forgotten.
//
// Contract: 42
func TestGroupKeepsWhatIsInUse(t *testing.T) {
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 2}, stability.Keys{Max: 8})
	busy, tuned := g.Get("busy"), g.Get("tuned")
	pass := enter(t, busy)
	require.NoError(t, tuned.SetLimit(5))
	for n := range 10_000 {
		require.NoError(t, g.Get(strconv.Itoa(n)).Run(t.Context(), ok))
	}
	require.Same(t, busy, g.Get("busy"))
	require.Same(t, tuned, g.Get("tuned"))
	require.NoError(t, pass.Done(nil))
	require.NoError(t, tuned.SetLimit(2))
	for n := range 10_000 {
		require.NoError(t, g.Get(strconv.Itoa(n)).Run(t.Context(), ok))
	}
	require.NotSame(t, busy, g.Get("busy"))
	require.NotSame(t, tuned, g.Get("tuned"))
	require.Equal(t, stability.Calls{Succeeded: 20_001}, g.Stats().Calls)
}

// Members come and go under many goroutines; no call is lost from the counts, and
// the counts never fall.
//
// Contract: 42, 43
func TestGroupCountsForgottenMembers(t *testing.T) {
	const goroutines, each = 8, 20_000
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 4}, stability.Keys{Max: 32})
	stop := make(chan struct{})
	var reader, callers sync.WaitGroup
	reader.Go(func() {
		for last := int64(0); ; {
			s := g.Stats()
			sum := s.Started() + s.Rejected
			if sum < last || s.Limit > 33*4 {
				t.Errorf("the counts fell from %d to %+v", last, s)
			}
			last = sum
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range goroutines {
		callers.Go(func() {
			for range each {
				_ = g.Get(strconv.Itoa(rand.IntN(200))).Run(context.Background(), ok)
			}
		})
	}
	callers.Wait()
	close(stop)
	reader.Wait()
	s := g.Stats()
	require.EqualValues(t, goroutines*each, s.Started()+s.Rejected)
	require.Zero(t, s.InUse)
	require.Zero(t, s.Queued)
}

func TestGroupAllocatesNothingForAKnownKey(t *testing.T) {
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 10}, stability.Keys{})
	g.Get("a")
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = g.Get("a").Run(context.Background(), ok) }))
}
