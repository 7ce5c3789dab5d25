package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/time/rate"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

func ok(context.Context) error { return nil }

// serialAndParallel runs f on one goroutine and on one a core.
func serialAndParallel(b *testing.B, name string, f func()) {
	b.Run("serial/"+name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
	b.Run("parallel/"+name, func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f()
			}
		})
	})
}

// A rate that is never reached.
func BenchmarkGranted(b *testing.B) {
	const perSecond, burst = 1e9, 1 << 30
	ours, theirs := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), rate.NewLimiter(perSecond, burst)
	ctx := context.Background()
	serialAndParallel(b, "Allow", func() { ours.Allow() })
	serialAndParallel(b, "Run", func() { _ = ours.Run(ctx, ok) })
	serialAndParallel(b, "xtime", func() { theirs.Allow() })
}

// A burst too small for leases: what the lock and the exact bucket cost.
func BenchmarkGrantedWithoutLease(b *testing.B) {
	const perSecond, burst = 1e9, 100
	ours, theirs := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), rate.NewLimiter(perSecond, burst)
	serialAndParallel(b, "Allow", func() { ours.Allow() })
	serialAndParallel(b, "xtime", func() { theirs.Allow() })
}

func BenchmarkRefused(b *testing.B) {
	const perSecond, burst = 1e-3, 1
	ours, theirs := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), rate.NewLimiter(perSecond, burst)
	ours.Allow()
	theirs.Allow()
	ctx := context.Background()
	serialAndParallel(b, "Allow", func() { ours.Allow() })
	serialAndParallel(b, "Run", func() { _ = ours.Run(ctx, ok) })
	serialAndParallel(b, "xtime", func() { theirs.Allow() })
}

// As many calls as there are tokens, and more.
func BenchmarkAtTheLimit(b *testing.B) {
	const perSecond, burst = 1e6, 1e3
	ours, theirs := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), rate.NewLimiter(perSecond, burst)
	serialAndParallel(b, "Allow", func() { ours.Allow() })
	serialAndParallel(b, "xtime", func() { theirs.Allow() })
}

func BenchmarkKeys(b *testing.B) {
	const n, perSecond, burst = 100_000, 1e6, 1e5
	keys := make([]string, n)
	group := ratelimit.NewGroup(ratelimit.Config{Rate: perSecond, Burst: burst}, stability.Keys{Max: n})
	var theirs sync.Map
	for i := range keys {
		keys[i] = "customer-" + strconv.Itoa(i)
		group.Get(keys[i])
		theirs.Store(keys[i], rate.NewLimiter(perSecond, burst))
	}
	each := func(name string, f func(key string)) {
		b.Run("serial/"+name, func(b *testing.B) {
			for i := 0; b.Loop(); i = (i + 7919) % n {
				f(keys[i])
			}
		})
		b.Run("parallel/"+name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i = (i + 7919) % n {
					f(keys[i])
				}
			})
		})
	}
	each("Allow", func(key string) { group.Get(key).Allow() })
	each("xtime", func(key string) {
		if l, ok := theirs.Load(key); ok {
			l.(*rate.Limiter).Allow()
		}
	})
}
