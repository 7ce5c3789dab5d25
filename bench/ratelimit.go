package bench

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

const xtimeName = "x/time/rate"

func rateGranted() Row {
	const perSecond, burst = 1e9, 1 << 30
	return Row{
		Name: "rate limit, granted",
		Note: "A thousand million tokens a second, which nobody can use up.",
		Goals: []Goal{
			{Name: "rate limit, granted", Against: xtimeName, Serial: 0.6, All: 1. / 3},
		},
		Candidates: []Candidate{
			ourAllow("stability", "`Allow`; a burst of 2³⁰.", perSecond, burst),
			{Name: "stability, Run", How: "The same around a call, whose end is counted.", Setup: func() Work {
				l, ctx := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), context.Background()
				granted(l.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = l.Run(ctx, ok)
					}
				})
			}},
			xtimeAllow("`Allow`; a burst of 2³⁰.", perSecond, burst),
			{Name: "uber-go/ratelimit", Kind: Peer, How: "`Take`, which cannot refuse and would sleep.", Setup: func() Work {
				l := uber.New(perSecond)
				return each(func(_, n int) {
					for range n {
						l.Take()
					}
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`TryAcquirePermit` of a smooth limiter.", Setup: func() Work {
				l := ratelimiter.NewBurstyBuilder[any](1<<30, time.Second).Build()
				grantedIf(l.TryAcquirePermit())
				return each(func(_, n int) {
					for range n {
						l.TryAcquirePermit()
					}
				})
			}},
			throttledAt("throttled v2", throttled.RateQuota{MaxRate: throttled.PerDuration(1, time.Nanosecond), MaxBurst: burst}, grantedIf),
			goLimiterAt("go-limiter", 1<<30, time.Second, grantedIf),
			add(), clock(),
		},
	}
}

func rateGrantedExactly() Row {
	const perSecond, burst = 1e9, 100
	return Row{
		Name: "rate limit, granted, small burst",
		Note: "A burst of 100 is too small for tokens to be lent ahead: what the exact bucket costs.",
		Candidates: []Candidate{
			ourAllow("stability", "`Allow`; a burst of 100.", perSecond, burst),
			xtimeAllow("`Allow`; a burst of 100.", perSecond, burst),
			clock(),
		},
	}
}

func rateRefused() Row {
	const perSecond, burst = 1e-3, 1
	return Row{
		Name: "rate limit, refused",
		Note: "A token every thousand seconds; uber-go/ratelimit cannot refuse.",
		Goals: []Goal{
			{Name: "rate limit, refused", Against: xtimeName, Serial: 0.6, All: 1. / 5},
		},
		Candidates: []Candidate{
			ourAllow("stability", "`Allow`.", perSecond, burst),
			{Name: "stability, Run", How: "The same around a call, with a Rejection that says when to come again.", Setup: func() Work {
				l, ctx := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}), context.Background()
				granted(l.Run(ctx, ok))
				refused(l.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = l.Run(ctx, ok)
					}
				})
			}},
			xtimeAllow("`Allow`.", perSecond, burst),
			{Name: "failsafe-go", Kind: Peer, How: "`TryAcquirePermit` of a smooth limiter.", Setup: func() Work {
				l := ratelimiter.NewSmoothWithMaxRate[any](1000 * time.Second)
				grantedIf(l.TryAcquirePermit())
				refusedUnless(l.TryAcquirePermit())
				return each(func(_, n int) {
					for range n {
						l.TryAcquirePermit()
					}
				})
			}},
			throttledAt("throttled v2", throttled.RateQuota{MaxRate: throttled.PerDuration(1, 1000*time.Second)}, refusedUnless),
			goLimiterAt("go-limiter", 1, 1000*time.Second, refusedUnless),
			add(), clock(),
		},
	}
}

func rateKeys() Row {
	const perSecond, burst = 1e6, 1e5
	return Row{
		Name: "rate limit, 10⁵ keys",
		Note: "One key after another, with a stride that no cache foresees. All keys are there before.",
		Goals: []Goal{
			{Name: "rate limit, 10⁵ keys", Against: "x/time/rate in a sync.Map", Serial: 0.8, All: 0.8},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "`Group.Get(key).Allow()`; the group is bounded to the number of keys.", Setup: func() Work {
				customers := walkCustomers()
				group := ratelimit.NewGroup(ratelimit.Config{Rate: perSecond, Burst: burst}, stability.Keys{Max: customerCount})
				for _, k := range customers.keys {
					grantedIf(group.Get(k).Allow())
				}
				return each(func(goroutine, n int) {
					for range n {
						group.Get(customers.key(goroutine)).Allow()
					}
				})
			}},
			{Name: "x/time/rate in a sync.Map", Kind: Peer, How: "`Load(key)`, `Allow`; unbounded, nothing is ever forgotten.", Setup: func() Work {
				customers := walkCustomers()
				var limiters sync.Map
				for _, k := range customers.keys {
					limiters.Store(k, rate.NewLimiter(perSecond, burst))
				}
				return each(func(goroutine, n int) {
					for range n {
						if l, ok := limiters.Load(customers.key(goroutine)); ok {
							l.(*rate.Limiter).Allow()
						}
					}
				})
			}},
			{Name: "throttled v2", Kind: Peer, How: "`RateLimitCtx` in a memstore of that size.", Setup: func() Work {
				customers, ctx := walkCustomers(), context.Background()
				l := newThrottled(customerCount, throttled.RateQuota{MaxRate: throttled.PerSec(perSecond), MaxBurst: burst})
				for _, k := range customers.keys {
					let(l.RateLimitCtx(ctx, k, 1))
				}
				return each(func(goroutine, n int) {
					for range n {
						_, _, _ = l.RateLimitCtx(ctx, customers.key(goroutine), 1)
					}
				})
			}},
			{Name: "go-limiter", Kind: Peer, How: "`Take` of a memorystore allocated for that size.", Setup: func() Work {
				customers, ctx := walkCustomers(), context.Background()
				store, err := memorystore.New(&memorystore.Config{Tokens: perSecond, Interval: time.Second, InitialAlloc: customerCount})
				granted(err)
				for _, k := range customers.keys {
					_, _, _, _, _ = store.Take(ctx, k)
				}
				return Work{Do: func(goroutine, n int) {
					for range n {
						_, _, _, _, _ = store.Take(ctx, customers.key(goroutine))
					}
				}, Close: func() { _ = store.Close(ctx) }}
			}},
		},
	}
}

const customerCount = 100_000

func walkCustomers() *walk {
	w := &walk{keys: make([]string, customerCount)}
	for i := range w.keys {
		w.keys[i] = "customer-" + strconv.Itoa(i)
	}
	return w
}

// A walk goes through all keys, each goroutine for itself, with a stride that no cache
// foresees.
type walk struct {
	keys []string
	at   [256]struct {
		next int
		_    [120]byte // what one goroutine writes is not beside what another one does
	}
}

func (w *walk) key(goroutine int) string {
	at := &w.at[goroutine%len(w.at)]
	at.next += 7919
	return w.keys[uint(goroutine*31_337+at.next)%uint(len(w.keys))] //nolint:gosec // Neither is negative.
}

func ourAllow(name, how string, perSecond float64, burst int) Candidate {
	return Candidate{Name: name, How: how, Setup: func() Work {
		l := ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst})
		grantedIf(l.Allow())
		return each(func(_, n int) {
			for range n {
				l.Allow()
			}
		})
	}}
}

func xtimeAllow(how string, perSecond float64, burst int) Candidate {
	return Candidate{Name: xtimeName, Kind: Peer, How: how, Setup: func() Work {
		l := rate.NewLimiter(rate.Limit(perSecond), burst)
		grantedIf(l.Allow())
		return each(func(_, n int) {
			for range n {
				l.Allow()
			}
		})
	}}
}

// throttledAt takes the one token that there may be before it looks.
func throttledAt(name string, quota throttled.RateQuota, check func(bool)) Candidate {
	return Candidate{Name: name, Kind: Peer, How: "`RateLimitCtx` of one key in a memstore.", Setup: func() Work {
		l, ctx := newThrottled(0, quota), context.Background()
		let(l.RateLimitCtx(ctx, "key", 1))
		check(let(l.RateLimitCtx(ctx, "key", 1)))
		return each(func(_, n int) {
			for range n {
				_, _, _ = l.RateLimitCtx(ctx, "key", 1)
			}
		})
	}}
}

func newThrottled(keys int, quota throttled.RateQuota) *throttled.GCRARateLimiterCtx {
	store, err := memstore.NewCtx(keys)
	granted(err)
	l, err := throttled.NewGCRARateLimiterCtx(store, quota)
	granted(err)
	return l
}

func let(limited bool, _ throttled.RateLimitResult, err error) bool {
	granted(err)
	return !limited
}

func goLimiterAt(name string, tokens uint64, interval time.Duration, check func(bool)) Candidate {
	return Candidate{Name: name, Kind: Peer, How: "`Take` of one key in a memorystore.", Setup: func() Work {
		ctx := context.Background()
		store, err := memorystore.New(&memorystore.Config{Tokens: tokens, Interval: interval})
		granted(err)
		_, _, _, _, _ = store.Take(ctx, "key")
		_, _, _, let, err := store.Take(ctx, "key")
		granted(err)
		check(let)
		return Work{Do: func(_, n int) {
			for range n {
				_, _, _, _, _ = store.Take(ctx, "key")
			}
		}, Close: func() { _ = store.Close(ctx) }}
	}}
}
