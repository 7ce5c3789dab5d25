package ratelimit_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ratelimit.NewGroup(ratelimit.Config{Name: "clients", Rate: 1, Burst: 2, MaxWait: time.Second}, stability.Keys{Max: 2})
		eu, us := g.Get("eu"), g.Get("us")
		require.Same(t, eu, g.Get("eu"))
		require.NoError(t, eu.Run(t.Context(), ok))
		require.NoError(t, eu.Run(t.Context(), ok))
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, eu.Run(t.Context(), ok)) })
		synctest.Wait()
		r := requireRefused(t, eu.Run(t.Context(), ok))
		require.Equal(t, "eu", r.Key)
		require.EqualError(t, r, "clients[eu]: ratelimit: limited, retry after 2s")
		require.NoError(t, us.Run(t.Context(), ok), "one key's calls leave another's alone")
		require.Equal(t, ratelimit.Stats{
			Calls: stability.Calls{Succeeded: 3, Rejected: 1}, Rate: 1, Burst: 2, Tokens: 1, Queued: 1,
		}, g.Stats())
		wg.Wait()
		require.EqualValues(t, 4, g.Stats().Succeeded)

		require.True(t, us.AllowN(2))
		require.Equal(t, 2, drain(g.Get("asia")))
		_, own := g.Lookup("asia")
		require.False(t, own, "both others would lose something")
		require.EqualValues(t, 1, g.Stats().Overflowed)
	})
}

// Within IdleFor, a member is forgotten when its bucket is full, nobody waits and nothing
// was set: when a new one would be the same.
//
// Contract: 42
func TestGroupForgetsOnlyTheFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ratelimit.NewGroup(ratelimit.Config{Rate: 1, Burst: 10}, stability.Keys{Max: 8, IdleFor: 3 * time.Hour})
		empty, waiting, tuned, larger := g.Get("empty"), g.Get("waiting"), g.Get("tuned"), g.Get("larger")
		require.Equal(t, 10, drain(empty))
		require.True(t, waiting.AllowN(1))
		require.NoError(t, tuned.SetRate(2))
		require.NoError(t, larger.SetBurst(20))
		require.Equal(t, 10, drain(larger))
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, waiting.WaitN(t.Context(), 10)) })
		synctest.Wait()
		others := func() {
			for n := range 1000 {
				g.Get(strconv.Itoa(n))
			}
		}
		others()
		require.Same(t, waiting, g.Get("waiting"))
		wg.Wait()
		time.Sleep(8500 * time.Millisecond)
		others()
		require.Same(t, empty, g.Get("empty"), "half a token short")
		require.Same(t, tuned, g.Get("tuned"))
		time.Sleep(time.Second)
		others()
		require.NotSame(t, empty, g.Get("empty"))
		require.Same(t, tuned, g.Get("tuned"))
		time.Sleep(time.Hour)
		others()
		require.Same(t, tuned, g.Get("tuned"))
		require.Same(t, larger, g.Get("larger"))
		require.NotSame(t, waiting, g.Get("waiting"))
	})
}

// A thousand clients of a slow limit held all places until their buckets were full again,
// though each of them could have been let in. They make room when nobody has asked for them
// in IdleFor and the place is needed; those that are refused do not.
//
// Contract: 42, 51
func TestClientsThatCameOnceMakeRoom(t *testing.T) {
	for name, c := range map[string]struct {
		spend int
		after time.Duration
		own   bool
	}{
		"within IdleFor":          {spend: 1, after: 10 * time.Minute},
		"after IdleFor":           {spend: 4, after: time.Hour, own: true},
		"those that have run out": {spend: 5, after: time.Hour},
		"a month later":           {spend: 5, after: 30 * 24 * time.Hour, own: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := ratelimit.NewGroup(ratelimit.Config{Rate: 1.0 / (24 * 3600), Burst: 5}, stability.Keys{})
				for n := range 1024 {
					require.True(t, g.Get(strconv.Itoa(n)).AllowN(c.spend))
				}
				time.Sleep(c.after)
				require.True(t, g.Get("new").Allow())
				_, own := g.Lookup("new")
				require.Equal(t, c.own, own)
			})
		})
	}
}

// One client used up the one limiter of all that found no room, and with 17 requests a
// second kept a limit of one a minute shut for everybody else.
//
// Contract: 42
func TestOneClientDoesNotShutOutTheOthers(t *testing.T) {
	g := ratelimit.NewGroup(ratelimit.Config{Rate: 1.0 / 60, Burst: 1}, stability.Keys{Max: 10})
	for n := range 10 {
		require.True(t, g.Get("early "+strconv.Itoa(n)).Allow())
	}
	for range 1000 {
		g.Get("attacker").Allow()
	}
	g.Get(stability.OverflowKey).Allow()
	let := map[*ratelimit.Limiter]bool{}
	for n := range 200 {
		l := g.Get("client " + strconv.Itoa(n))
		let[l] = l.Allow() || let[l]
	}
	require.Len(t, let, 16)
	in := 0
	for _, ok := range let {
		if ok {
			in++
		}
	}
	require.GreaterOrEqual(t, in, 14, "but those whose hash is the attacker's, or that of the other key")
	require.EqualValues(t, 1000+1+200, g.Stats().Overflowed)
}

// However many keys come and go, none gets more than its rate.
//
// Contract: 23, 42
func TestGroupKeepsTheRateOfEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const goroutines, each, keys, rate, burst = 16, 3000, 300, 10, 5
		g := ratelimit.NewGroup(ratelimit.Config{Rate: rate, Burst: burst}, stability.Keys{Max: 64, IdleFor: time.Second})
		began := time.Now()
		var granted [goroutines][keys]int
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 2))
				for range each {
					k := rnd.IntN(keys)
					if g.Get(strconv.Itoa(k)).Allow() {
						granted[i][k]++
					}
					time.Sleep(time.Duration(rnd.Int64N(int64(time.Millisecond))))
				}
			})
		}
		wg.Wait()
		for k := range keys {
			sum := 0
			for i := range goroutines {
				sum += granted[i][k]
			}
			// Of the overflow member it got at most as much again.
			require.LessOrEqual(t, float64(sum), 2*(rate*time.Since(began).Seconds()+burst))
		}
	})
}

func TestNilGroup(t *testing.T) {
	var g *ratelimit.Group
	require.Nil(t, g.Get("a"))
	_, own := g.Lookup("a")
	require.False(t, own)
	require.NoError(t, g.Get("a").Run(t.Context(), ok))
	require.Zero(t, g.Stats())
}

// Contract: 41
func TestGroupConfig(t *testing.T) {
	good := ratelimit.Config{Rate: 1}
	require.PanicsWithError(t, "ratelimit: Config.Rate (0) must be positive and finite\nratelimit: Keys.Max (-1) must not be negative\nratelimit: Keys.IdleFor (-2ns) must not be negative", func() {
		ratelimit.NewGroup(ratelimit.Config{}, stability.Keys{Max: -1, IdleFor: -2})
	})
	require.PanicsWithError(t, "ratelimit: Keys.Max (-1) must not be negative", func() { ratelimit.NewGroup(good, stability.Keys{Max: -1}) })
	require.PanicsWithError(t, "ratelimit: Keys.IdleFor (-1ns) must not be negative", func() { ratelimit.NewGroup(good, stability.Keys{IdleFor: -1}) })
}
