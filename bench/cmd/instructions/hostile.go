package main

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
)

// The cost of an attack: how many calls wait, or how many keys are there, before the call
// that is counted. What a call takes may not grow with them.
const (
	handful = 10
	calls   = 10_000
	keys    = 100_000
)

// hostile are paths that others can send a service down, each behind a handful and behind a
// crowd.
func hostile() []path {
	var paths []path
	for _, attack := range []struct {
		name  string
		crowd int
		setup func(n int) func() // returns one call behind n others
		fewer int
		most  float64 // times what a call takes behind a handful
	}{
		{"bulkhead, refusal behind # waiting", calls, func(n int) func() { return through(queueOfCalls(n, n), ok) }, 1, 1.5},
		{"bulkhead, wait given up behind # waiting", calls, func(n int) func() {
			b := queueOfCalls(n, n+1)
			return givesUp(func(ctx context.Context) { _ = b.Run(ctx, ok) })
		}, 5, 1.25},
		{"rate limit, refusal behind # waiting", calls, func(n int) func() {
			l := queueForTokens(n)
			return func() { l.Allow() }
		}, 1, 1.5},
		{"rate limit, wait given up behind # waiting", calls, func(n int) func() {
			l := queueForTokens(n)
			return givesUp(func(ctx context.Context) { _ = l.Wait(ctx) })
		}, 5, 1.25},
		// The memory of a hundred thousand keys is in no cache, which instructions do not show.
		{"group of #, a new key for one that is idle", keys, func(n int) func() {
			g := groupOf(n, func(*breaker.Breaker) {})
			call := newKeys(g, n)
			for range n { // until all are such that came like this
				call()
			}
			return call
		}, 5, 2},
		{"group of # in use, a new key", keys, func(n int) func() {
			return newKeys(groupOf(n, (*breaker.Breaker).ForceOpen), n)
		}, 5, 2},
	} {
		few, many := behind(attack.name, handful), behind(attack.name, attack.crowd)
		paths = append(paths,
			path{name: few, fewer: attack.fewer, setup: func() func() { return attack.setup(handful) }},
			path{name: many, fewer: attack.fewer, setup: func() func() { return attack.setup(attack.crowd) }, peer: few, most: attack.most})
	}
	return paths
}

func behind(attack string, n int) string { return strings.ReplaceAll(attack, "#", strconv.Itoa(n)) }

// queueOfCalls returns a bulkhead without a free permit and with n calls in its queue.
func queueOfCalls(n, queue int) *bulkhead.Bulkhead {
	b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: queue})
	_, _ = b.Enter(context.Background())
	for range n {
		go func() { _, _ = b.Enter(context.Background()) }()
	}
	for b.Stats().Queued < n {
		runtime.Gosched()
	}
	return b
}

// queueForTokens returns a limiter without a token and with n calls in its queue.
func queueForTokens(n int) *ratelimit.Limiter {
	l := ratelimit.New(ratelimit.Config{Rate: 1e-3, Burst: 1, MaxWait: math.MaxInt64})
	l.Allow()
	for range n {
		go func() { _ = l.Wait(context.Background()) }()
	}
	for l.Stats().Queued < n {
		runtime.Gosched()
	}
	return l
}

// givesUp returns a call whose caller leaves as soon as it waits: there is one thread, on
// which the goroutine that cancels comes when the call lets go of it.
func givesUp(wait func(context.Context)) func() {
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		wait(ctx)
	}
}

// groupOf returns a full group of n members, each of which has been used.
func groupOf(n int, use func(*breaker.Breaker)) *breaker.Group {
	// The hand that looks for members to forget goes by the time, which is another one each run.
	g := breaker.NewGroup(breaker.Config{}, stability.Keys{Max: n, IdleFor: 10_000 * time.Hour})
	for i := range n {
		use(g.Get(strconv.Itoa(i)))
	}
	return g
}

// newKeys returns a call that asks g for a key that it was never asked for.
func newKeys(g *breaker.Group, n int) func() {
	next := n
	return func() {
		next++
		g.Get(strconv.Itoa(next))
	}
}
