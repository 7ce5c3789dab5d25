package main

import (
	"context"
	"errors"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// A path is a way through the library that is to stay short.
type path struct {
	name  string
	setup func() func() // returns one call
}

var errCall = errors.New("the call's own error")

func ok(context.Context) error     { return nil }
func failed(context.Context) error { return errCall }

// paths are the hot ones. They import nothing but the library, so that no peer's
// goroutine is counted with them.
var paths = []path{
	{"breaker, closed, success", func() func() { return through(breaker.New(breaker.Config{}), ok) }},
	{"breaker, closed, failure", func() func() {
		return through(breaker.New(breaker.Config{MinCalls: 1 << 30}), failed)
	}},
	{"breaker, slow calls watched", func() func() { return through(breaker.New(breaker.Config{SlowCall: time.Hour}), ok) }},
	{"breaker, open, refusal", func() func() {
		b := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Hour})
		_ = b.Run(context.Background(), failed)
		return through(b, ok)
	}},
	{"bulkhead, free", func() func() { return through(newBulkhead(), ok) }},
	{"bulkhead, full, refusal", func() func() {
		b := bulkhead.New(bulkhead.Config{Limit: 1})
		_, _ = b.Enter(context.Background())
		return through(b, ok)
	}},
	{"rate limit, granted", func() func() {
		l := newLimiter()
		return func() { l.Allow() }
	}},
	{"rate limit, granted, around a call", func() func() { return through(newLimiter(), ok) }},
	{"rate limit, refused", func() func() {
		l := ratelimit.New(ratelimit.Config{Rate: 1e-3, Burst: 1})
		l.Allow()
		return func() { l.Allow() }
	}},
	{"timeout, in time", func() func() { return through(newTimeout(), ok) }},
	{"retry, first attempt succeeds", func() func() { return through(retry.New(retry.Config{}), ok) }},
	{"a breaker of a group", func() func() {
		g, ctx := breaker.NewGroup(breaker.Config{}, stability.Keys{}), context.Background()
		return func() { _ = g.Get("eu-1").Run(ctx, ok) }
	}},
	{"limit + bulkhead + breaker, chained", func() func() {
		return through(stability.Gates(newLimiter(), newBulkhead(), breaker.New(breaker.Config{})), ok)
	}},
	{"retry + breaker + limit + bulkhead + timeout", func() func() {
		return through(stability.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{}), newLimiter(), newBulkhead(), newTimeout()), ok)
	}},
}

func newBulkhead() *bulkhead.Bulkhead { return bulkhead.New(bulkhead.Config{Limit: 1000}) }
func newLimiter() *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Config{Rate: 1e9, Burst: 1 << 30})
}
func newTimeout() *timeout.Timeout { return timeout.New(timeout.Config{After: time.Hour}) }

func through(p stability.Policy, fn func(context.Context) error) func() {
	ctx := context.Background()
	return func() { _ = p.Run(ctx, fn) }
}
