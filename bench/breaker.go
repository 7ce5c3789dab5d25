package bench

import (
	"context"
	"time"

	"github.com/afex/hystrix-go/hystrix"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/sony/gobreaker/v2"
	zero "github.com/zeromicro/go-zero/core/breaker"
	"github.com/zeromicro/go-zero/core/logx"

	"github.com/crumplezone/stability/breaker"
)

const (
	gobreakerName = "gobreaker v2"
	slidingName   = "gobreaker v2, sliding"
)

func breakerClosed() Row {
	return Row{
		Name: "breaker, closed, success",
		Note: "All but the first gobreaker open from half of at least 20 calls in 10 s that failed; that one counts without a window, as is its default.",
		Goals: []Goal{
			{Name: "breaker, closed, success", Against: gobreakerName, Serial: 1. / 5, All: 1. / 15, AllOfTwo: 1. / 7},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "The zero Config: half of at least 20 calls in a sliding window of 10 s.", Setup: func() Work {
				b, ctx := breaker.New(breaker.Config{}), context.Background()
				granted(b.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = b.Run(ctx, ok)
					}
				})
			}},
			gobreakerAt(gobreakerName, "`Execute`; the zero Settings.", gobreaker.Settings{}, 0),
			gobreakerAt(slidingName, "`Execute`; Interval 10 s in buckets of 1 s, half of at least 20 calls.", sliding(), 0),
			failsafeBreaker(0),
			{Name: "hystrix-go", Kind: Peer, How: "`Do`; its command's timeout of a minute and 10,000 concurrent calls are never reached.", Setup: func() Work {
				command := hystrixCommand("closed")
				granted(hystrix.Do(command, okPlain, nil))
				return each(func(_, n int) {
					for range n {
						_ = hystrix.Do(command, okPlain, nil)
					}
				})
			}},
			zeroBreaker(0),
			aegisBreaker(0),
			plain(), add(), clock(),
		},
	}
}

func breakerTenth() Row {
	return Row{
		Name: "breaker, closed, every tenth call fails",
		Goals: []Goal{
			{Name: "breaker, closed, 10 % failures", Against: gobreakerName, Serial: 1. / 4, All: 1. / 6},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "As above.", Setup: func() Work {
				b, ctx := breaker.New(breaker.Config{}), context.Background()
				granted(b.Run(ctx, ok))
				return each(func(_, n int) {
					for i := range n {
						if i%10 == 9 {
							_ = b.Run(ctx, failed)
						} else {
							_ = b.Run(ctx, ok)
						}
					}
				})
			}},
			gobreakerAt(gobreakerName, "As above.", gobreaker.Settings{}, 10),
			gobreakerAt(slidingName, "As above.", sliding(), 10),
			failsafeBreaker(10),
			zeroBreaker(10),
			aegisBreaker(10),
		},
	}
}

func breakerOpen() Row {
	return Row{
		Name: "breaker, open, refusal",
		Note: "go-zero and aegis are left out: they refuse a share of the calls, never all.",
		Goals: []Goal{
			{Name: "breaker, open, refusal", Against: gobreakerName, Serial: 1. / 3, All: 1. / 15, AllOfTwo: 1. / 8},
		},
		Candidates: []Candidate{
			{Name: "stability", How: "Opened by a failure, for an hour.", Setup: func() Work {
				b, ctx := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Hour}), context.Background()
				_ = b.Run(ctx, failed)
				refused(b.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = b.Run(ctx, ok)
					}
				})
			}},
			{Name: gobreakerName, Kind: Peer, How: "Opened by a failure, for an hour.", Setup: func() Work {
				b := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
					Timeout: time.Hour, ReadyToTrip: func(gobreaker.Counts) bool { return true },
				})
				_, _ = b.Execute(failedEmpty)
				_, err := b.Execute(okEmpty)
				refused(err)
				return each(func(_, n int) {
					for range n {
						_, _ = b.Execute(okEmpty)
					}
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`Open()`, with a delay of an hour.", Setup: func() Work {
				b := circuitbreaker.NewBuilder[any]().WithDelay(time.Hour).Build()
				b.Open()
				executor := failsafe.With[any](b)
				refused(executor.Run(okPlain))
				return each(func(_, n int) {
					for range n {
						_ = executor.Run(okPlain)
					}
				})
			}},
			add(), clock(),
		},
	}
}

func okEmpty() (struct{}, error)     { return struct{}{}, nil }
func failedEmpty() (struct{}, error) { return struct{}{}, errCall }

// sliding is what our defaults are, for gobreaker.
func sliding() gobreaker.Settings {
	return gobreaker.Settings{
		Interval: 10 * time.Second, BucketPeriod: time.Second, Timeout: 5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= 20 && float64(c.TotalFailures) >= 0.5*float64(c.Requests)
		},
	}
}

// gobreakerAt runs calls of which every period-th fails, or none where it is 0.
func gobreakerAt(name, how string, settings gobreaker.Settings, period int) Candidate {
	return Candidate{Name: name, Kind: Peer, How: how, Setup: func() Work {
		b := gobreaker.NewCircuitBreaker[struct{}](settings)
		_, err := b.Execute(okEmpty)
		granted(err)
		if period == 0 {
			return each(func(_, n int) {
				for range n {
					_, _ = b.Execute(okEmpty)
				}
			})
		}
		return each(func(_, n int) {
			for i := range n {
				if i%period == period-1 {
					_, _ = b.Execute(failedEmpty)
				} else {
					_, _ = b.Execute(okEmpty)
				}
			}
		})
	}}
}

func failsafeBreaker(period int) Candidate {
	return Candidate{Name: "failsafe-go", Kind: Peer, How: "`WithFailureRateThreshold(0.5, 20, 10s)`; `Executor.Run` without a context, its cheapest way.", Setup: func() Work {
		executor := failsafe.With[any](newFailsafeBreaker())
		granted(executor.Run(okPlain))
		if period == 0 {
			return each(func(_, n int) {
				for range n {
					_ = executor.Run(okPlain)
				}
			})
		}
		return each(func(_, n int) {
			for i := range n {
				if i%period == period-1 {
					_ = executor.Run(failedPlain)
				} else {
					_ = executor.Run(okPlain)
				}
			}
		})
	}}
}

func newFailsafeBreaker() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).WithDelay(5 * time.Second).Build()
}

func hystrixCommand(name string) string {
	hystrix.ConfigureCommand(name, hystrix.CommandConfig{
		Timeout: 60_000, MaxConcurrentRequests: 10_000, RequestVolumeThreshold: 20, ErrorPercentThreshold: 50,
	})
	return name
}

func zeroBreaker(period int) Candidate {
	return Candidate{Name: "go-zero", Kind: Peer, How: "`core/breaker`, `Do`, which has no settings. It never opens but refuses a growing share.", Setup: func() Work {
		logx.Disable() // it would log the process's use of the processor
		b := zero.NewBreaker()
		granted(b.Do(okPlain))
		return each(func(_, n int) {
			for i := range n {
				if period > 0 && i%period == period-1 {
					_ = b.Do(failedPlain)
				} else {
					_ = b.Do(okPlain)
				}
			}
		})
	}}
}

func aegisBreaker(period int) Candidate {
	return Candidate{Name: "aegis", Kind: Peer, How: "`circuitbreaker/sre`; a window of 10 s in 10 buckets, 20 calls, 0.5. It never opens but refuses a growing share.", Setup: func() Work {
		b := sre.NewBreaker(sre.WithWindow(10*time.Second), sre.WithBucket(10), sre.WithRequest(20), sre.WithSuccess(0.5))
		run := func(fn func() error) error {
			if err := b.Allow(); err != nil {
				return err
			}
			err := fn()
			if err != nil {
				b.MarkFailed()
			} else {
				b.MarkSuccess()
			}
			return err
		}
		granted(run(okPlain))
		return each(func(_, n int) {
			for i := range n {
				if period > 0 && i%period == period-1 {
					_ = run(failedPlain)
				} else {
					_ = run(okPlain)
				}
			}
		})
	}}
}
