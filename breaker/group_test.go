package breaker_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/points"
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
		time.Sleep(time.Minute - 1)
		require.True(t, shares(g, "other"), "the ramp goes on")
		time.Sleep(1)
		require.False(t, shares(g, "other"))
	})
}

// shares reports whether the key has no member of its own.
func shares(g *breaker.Group, key string) bool {
	g.Get(key)
	_, own := g.Lookup(key)
	return !own
}

// Contract: 12, 42
func TestGroupKeepsWhatIsForced(t *testing.T) {
	for name, force := range map[string]func(*breaker.Breaker){
		"open":   (*breaker.Breaker).ForceOpen,
		"closed": (*breaker.Breaker).ForceClosed,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := breaker.NewGroup(breaker.Config{Consecutive: 3}, stability.Keys{Max: 1, IdleFor: time.Second})
				b := g.Get("key")
				force(b)
				time.Sleep(time.Hour)
				require.True(t, shares(g, "other"))
				require.Same(t, b, g.Get("key"))
				b.Reset()
				time.Sleep(time.Hour)
				require.False(t, shares(g, "other"))
			})
		})
	}
}

// Contract: 42
func TestGroupKeepsCallsInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Window: 10 * time.Second}, stability.Keys{Max: 1})
		require.NoError(t, g.Get("key").Run(t.Context(), ok))
		time.Sleep(9 * time.Second)
		require.True(t, shares(g, "other"))
		time.Sleep(2 * time.Second)
		require.False(t, shares(g, "other"))
	})
}

// A member with calls under way is kept, though none of them has ended yet: where all
// dependencies hang, and there is one more than the group has room for, each would
// otherwise lose its breaker before it has counted a failure, and none would open.
//
// Contract: 7, 42
func TestBreakersOfHangingHostsOpen(t *testing.T) {
	for _, c := range []struct{ hosts, most int }{{4, 4}, {5, 4}, {40, 32}} {
		synctest.Test(t, func(t *testing.T) {
			g := breaker.NewGroup(breaker.Config{}, stability.Keys{Max: c.most})
			var ran atomic.Int64
			var wg sync.WaitGroup
			for h := range c.hosts {
				wg.Go(func() {
					time.Sleep(time.Duration(h) * time.Millisecond)
					for range 600 { // a minute, ten calls a second
						time.Sleep(100 * time.Millisecond)
						wg.Go(func() {
							key := strconv.Itoa(h)
							b := g.Get(key)
							if own, _ := g.Lookup(key); own != b {
								return
							}
							_ = b.Run(context.Background(), func(context.Context) error {
								ran.Add(1)
								time.Sleep(time.Second)
								return context.DeadlineExceeded
							})
						})
					}
				})
			}
			wg.Wait()
			require.Greater(t, g.Stats().Rejected, 9*ran.Load())
		})
	}
}

// However calls end, a member at rest makes room again.
//
// Contract: 42, 44
func TestMemberAtRestIsForgotten(t *testing.T) {
	for _, cfg := range []breaker.Config{{}, {SlowCall: time.Second}, {Classify: stability.Classify}, {Observe: true, Consecutive: 1}} {
		synctest.Test(t, func(t *testing.T) {
			cfg.OpenFor, cfg.ProbeFor = time.Second, time.Second
			g := breaker.NewGroup(cfg, stability.Keys{Max: 1})
			b := g.Get("a")
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			for range 3 {
				_ = b.Run(t.Context(), ok)
				_ = b.Run(t.Context(), failed)
				_ = b.Run(canceled, ok)
				_, _ = breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errCall })
				require.Panics(t, func() { _ = b.Run(t.Context(), func(context.Context) error { panic(1) }) })
				p, err := b.Enter(t.Context())
				require.NoError(t, err)
				require.True(t, shares(g, "b"))
				_, _ = p.Done(nil), p.Done(nil)
			}
			b.ForceOpen()
			_ = b.Run(t.Context(), ok)
			b.Auto()
			b.Reset()
			time.Sleep(time.Minute)
			require.False(t, shares(g, "b"))
		})
	}
}

// A hundred thousand keys that are known and not busy fit in a hundred megabytes.
func TestIdleMemberIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members = 100_000
		heap := func() int64 {
			runtime.GC()
			runtime.GC() // what the first one found to be cleaned up
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc) //nolint:gosec // So much memory there is not.
		}
		before := heap()
		g := breaker.NewGroup(breaker.Config{Window: 10 * time.Millisecond}, stability.Keys{Max: members})
		for i := range members {
			require.NoError(t, g.Get(strconv.Itoa(i)).Run(t.Context(), ok))
			if i%100 == 99 {
				// Until windows are empty and their timers gone, few at a time: the runtime
				// keeps some of each goroutine, and a timer runs on one.
				time.Sleep(100 * time.Millisecond)
			}
		}
		require.LessOrEqual(t, (heap()-before)/members, int64(1024), "bytes a member")
		runtime.KeepAlive(g)
	})
}

// A thousand hosts that failed once each held all places for ever; those that came later
// shared one breaker, and one of them that failed had the calls to all others refused. What
// refuses nothing and was not asked for in IdleFor makes room, whatever it remembers; what
// refuses calls, and what has calls under way, stays.
//
// Contract: 42, 51
func TestHostsThatFailedOnceMakeRoom(t *testing.T) {
	const hosts = 1024
	sick := breaker.Config{Consecutive: 1, OpenFor: time.Minute}
	for name, c := range map[string]struct {
		cfg   breaker.Config
		after time.Duration
		hangs bool
		own   bool
	}{
		"failed in a row, a month ago":      {cfg: breaker.Config{Consecutive: 5}, after: 30 * 24 * time.Hour, own: true},
		"failed in a row, a year ago":       {cfg: breaker.Config{Consecutive: 5}, after: 365 * 24 * time.Hour, own: true},
		"failed in a row, just now":         {cfg: breaker.Config{Consecutive: 5}, after: time.Minute},
		"opened, a month ago":               {cfg: sick, after: 30 * 24 * time.Hour, own: true},
		"opened, a year ago":                {cfg: sick, after: 365 * 24 * time.Hour, own: true},
		"open yet":                          {cfg: breaker.Config{Consecutive: 1, OpenFor: 24 * time.Hour, MaxOpenFor: 24 * time.Hour}, after: time.Hour},
		"a call under way since a year ago": {cfg: breaker.Config{Consecutive: 5}, after: 365 * 24 * time.Hour, hangs: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := breaker.NewGroup(c.cfg, stability.Keys{})
				var passes []*stability.Pass
				for h := range hosts {
					require.Error(t, g.Get(strconv.Itoa(h)).Run(t.Context(), failed))
					if c.hangs {
						pass, err := g.Get(strconv.Itoa(h)).Enter(t.Context())
						require.NoError(t, err)
						passes = append(passes, pass)
					}
				}
				time.Sleep(c.after)
				require.Equal(t, !c.own, shares(g, "a new pod"))
				for _, pass := range passes {
					_ = pass.Done(nil)
				}
			})
		})
	}
}

// One key of those that find no room cannot have the calls of the others refused: what they
// share only watches. And it is seen that keys found no room.
//
// Contract: 42
func TestOverflowBreakerOnlyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		g := breaker.NewGroup(breaker.Config{Name: "hosts", Consecutive: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour, MeterProvider: meter}, stability.Keys{Max: 1})
		require.Error(t, g.Get("open").Run(t.Context(), failed))
		for n := range 100 {
			key := strconv.Itoa(n)
			require.Error(t, g.Get(key).Run(t.Context(), failed))
			require.NoError(t, g.Get(key).Run(t.Context(), ok), "not refused for what others did, nor for its own")
		}
		require.ErrorIs(t, g.Get("open").Run(t.Context(), ok), breaker.ErrOpen)
		own, found := g.Lookup("open")
		require.True(t, found)
		require.Same(t, g.Get("open"), own)

		s := g.Stats()
		require.EqualValues(t, 200, s.Overflowed)
		require.Positive(t, s.Observed)
		require.EqualValues(t, 1, s.Rejected)
		require.Equal(t, 1, s.Open, "of the keys that have a breaker")
		require.Zero(t, s.Closed)
		require.EqualValues(t, 200, meter.Values(t)["stability.keys.overflowed{stability.name=hosts,stability.policy=breaker}"])
		for _, p := range points.List() {
			if p.Name == "hosts" {
				require.EqualValues(t, 200, p.Figures["overflowed"])
				require.Equal(t, 1, p.Keys)
			}
		}
		runtime.KeepAlive(g)
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

// The sum counts calls of members that have been forgotten, and each member in the
// state that it reads.
//
// Contract: 43
func TestGroupStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Consecutive: 1, OpenFor: time.Minute, Window: time.Second}, stability.Keys{Max: 3})
		require.Zero(t, g.Stats())
		require.NoError(t, g.Get("forgotten").Run(t.Context(), ok))
		time.Sleep(time.Hour)
		require.Error(t, g.Get("sick").Run(t.Context(), failed))
		require.NoError(t, g.Get("well").Run(t.Context(), ok))
		require.NoError(t, g.Get("new").Run(t.Context(), ok))
		require.ErrorIs(t, g.Get("sick").Run(t.Context(), ok), breaker.ErrOpen)
		require.Equal(t, breaker.GroupStats{
			Calls:  stability.Calls{Succeeded: 3, Failed: 1, Rejected: 1},
			Closed: 2, Open: 1,
		}, g.Stats())
		time.Sleep(2 * time.Minute)
		require.Equal(t, 1, g.Stats().HalfOpen)

		g = breaker.NewGroup(breaker.Config{Consecutive: 1, Observe: true}, stability.Keys{})
		require.Error(t, g.Get("key").Run(t.Context(), failed))
		require.NoError(t, g.Get("key").Run(t.Context(), ok))
		require.EqualValues(t, 1, g.Stats().Observed)
	})
}

func TestNilGroup(t *testing.T) {
	var g *breaker.Group
	require.Zero(t, g.Stats())
	require.Nil(t, g.Get("key"))
	_, found := g.Lookup("key")
	require.False(t, found)
	require.NoError(t, g.Get("key").Run(t.Context(), ok))
}

// Contract: 41
func TestKeysAreValidated(t *testing.T) {
	require.PanicsWithError(t, "breaker: Keys.Max (-1) must not be negative", func() {
		breaker.NewGroup(breaker.Config{}, stability.Keys{Max: -1})
	})
	require.PanicsWithError(t, "breaker: Keys.IdleFor (-1ns) must not be negative", func() {
		breaker.NewGroup(breaker.Config{}, stability.Keys{IdleFor: -1})
	})
}
