package bench

import (
	"context"
	"time"

	avast "github.com/avast/retry-go/v5"
	"github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

const (
	handMadeName = "hand-made stack"
	perSecond    = 1e9 // more than anybody can use up
	burst        = 1 << 30
)

func retryFirst() Row {
	return Row{
		Name: "retry, first attempt succeeds",
		Note: "Three attempts, pauses from 50 ms. Ours also earns for its budget, marks the attempt in the context and counts; the others do not.",
		Candidates: []Candidate{
			{Name: "stability", How: "The zero Config.", Setup: func() Work {
				return running(retry.New(retry.Config{}))
			}},
			{Name: "retry-go v5", Kind: Peer, How: "`New(Attempts(3), Delay(50ms))` once, `Do` for each call.", Setup: func() Work {
				r := avast.New(avast.Attempts(3), avast.Delay(50*time.Millisecond))
				granted(r.Do(okPlain))
				return each(func(_, n int) {
					for range n {
						_ = r.Do(okPlain)
					}
				})
			}},
			{Name: "backoff v5", Kind: Peer, How: "`Retry(ctx, fn, WithMaxTries(3))`, which makes its backoff for each call.", Setup: func() Work {
				ctx := context.Background()
				return each(func(_, n int) {
					for range n {
						_, _ = backoff.Retry(ctx, okEmpty, backoff.WithMaxTries(3))
					}
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`WithMaxAttempts(3).WithBackoff(50ms, 2s)`; `Executor.Run` without a context.", Setup: func() Work {
				return executing(newFailsafeRetry())
			}},
			clock(),
		},
	}
}

func stackOfFive() Row {
	return Row{
		Name: "retry + breaker + limit + bulkhead + timeout",
		Note: "Around a call that succeeds. The limits are never reached.",
		Goals: []Goal{
			{Name: "retry + breaker + limit + bulkhead + timeout", Against: "failsafe-go", Serial: 1. / 8, All: 1. / 6},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "`Chain` of the five, in that order.", Setup: func() Work {
				return running(stability.Chain(append(four(nil), timeout.New(timeout.Config{After: time.Minute}))...))
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`With` the five, in that order; `Executor.Run` without a context, its cheapest way.", Setup: func() Work {
				return executing(append(failsafeFour(), failsafetimeout.New[any](time.Minute))...)
			}},
			{Name: handMadeName, Kind: Peer, How: "A loop, gobreaker, x/time/rate, x/sync/semaphore, context.WithTimeout.", Setup: func() Work {
				stack := newHandMade()
				return running(policy(func(ctx context.Context, fn func(context.Context) error) error {
					return stack.Run(ctx, func(ctx context.Context) error {
						ctx, cancel := context.WithTimeout(ctx, time.Minute)
						defer cancel()
						return fn(ctx)
					})
				}))
			}},
			plain(), clock(),
		},
	}
}

func stackOfFour() Row {
	return Row{
		Name: "retry + breaker + limit + bulkhead",
		Note: "The same without the timeout.",
		Goals: []Goal{
			{Name: "the same without timeout", Against: handMadeName, Serial: 1. / 4, All: 1. / 4},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "`Chain` of the four, in that order.", Setup: func() Work { return running(stability.Chain(four(nil)...)) }},
			{Name: "failsafe-go", Kind: Peer, How: "`With` the four, in that order; `Executor.Run` without a context, its cheapest way.", Setup: func() Work {
				return executing(failsafeFour()...)
			}},
			{Name: handMadeName, Kind: Peer, How: "A loop, gobreaker, x/time/rate, x/sync/semaphore.", Setup: func() Work {
				return running(newHandMade())
			}},
			plain(), clock(),
		},
	}
}

// gates shows what each further gate of a chain adds.
func gates() Row {
	row := Row{
		Name: "five gates, chained",
		Note: "Limit, bulkhead, breaker, bulkhead, limit: what a chain of gates costs by itself, without a retry around it.",
		Candidates: []Candidate{
			{Name: "stability", How: "`Gates` of the five.", Setup: func() Work { return running(fiveGates()) }},
			{Name: "stability, with a timeout", How: "`Gates` of the five and a timeout inside them.", Setup: func() Work {
				return running(stability.Gates(fiveGates(), timeout.New(timeout.Config{After: time.Minute})))
			}},
			plain(),
		},
	}
	return row
}

func fiveGates() stability.Gate {
	limit := func() stability.Gate { return ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst}) }
	bulk := func() stability.Gate { return bulkhead.New(bulkhead.Config{Limit: permits}) }
	return stability.Gates(limit(), bulk(), breaker.New(breaker.Config{}), bulk(), limit())
}

// four is the stack without a timeout.
func four(provider metric.MeterProvider) []stability.Policy {
	return []stability.Policy{
		retry.New(retry.Config{MeterProvider: provider}),
		breaker.New(breaker.Config{MeterProvider: provider}),
		ratelimit.New(ratelimit.Config{Rate: perSecond, Burst: burst, MeterProvider: provider}),
		bulkhead.New(bulkhead.Config{Limit: permits, MeterProvider: provider}),
	}
}

func failsafeFour() []failsafe.Policy[any] {
	return []failsafe.Policy[any]{
		newFailsafeRetry(),
		newFailsafeBreaker(),
		ratelimiter.NewBursty[any](burst, time.Second),
		failsafebulkhead.New[any](permits),
	}
}

func newFailsafeRetry() retrypolicy.RetryPolicy[any] {
	return retrypolicy.NewBuilder[any]().WithMaxAttempts(3).WithBackoff(50*time.Millisecond, 2*time.Second).Build()
}

// handMade is what a careful engineer writes who takes the usual library for each
// part: a loop is the cheapest of all retries.
type handMade struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	limiter *rate.Limiter
	permits weighted
}

func newHandMade() *handMade {
	return &handMade{
		breaker: gobreaker.NewCircuitBreaker[struct{}](sliding()),
		limiter: rate.NewLimiter(perSecond, burst),
		permits: weighted{semaphore.NewWeighted(permits)},
	}
}

func (h *handMade) Run(ctx context.Context, fn func(context.Context) error) (err error) {
	for attempt := range 3 {
		if attempt > 0 {
			time.Sleep(50 * time.Millisecond << (attempt - 1))
		}
		_, err = h.breaker.Execute(func() (struct{}, error) {
			if err := h.limiter.Wait(ctx); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, h.permits.Run(ctx, fn)
		})
		if err == nil {
			return nil
		}
	}
	return err
}

// A policy is a function as a [stability.Policy].
type policy func(ctx context.Context, fn func(context.Context) error) error

func (p policy) Run(ctx context.Context, fn func(context.Context) error) error { return p(ctx, fn) }

// running is calls through a policy.
func running(p stability.Policy) Work {
	ctx := context.Background()
	granted(p.Run(ctx, ok))
	return each(func(_, n int) {
		for range n {
			_ = p.Run(ctx, ok)
		}
	})
}

// executing is calls through policies of failsafe-go.
func executing(policies ...failsafe.Policy[any]) Work {
	executor := failsafe.With(policies...)
	granted(executor.Run(okPlain))
	return each(func(_, n int) {
		for range n {
			_ = executor.Run(okPlain)
		}
	})
}
