package breaker_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
)

func calls(outcome string) string {
	switch outcome {
	case "failure":
		outcome = "error.type=_OTHER,stability.name=stock,stability.outcome=failure"
	case "rejected":
		outcome = "error.type=breaker_rejected,stability.name=stock,stability.outcome=rejected"
	default:
		outcome = "stability.name=stock,stability.outcome=" + outcome
	}
	return "stability.calls{" + outcome + ",stability.policy=breaker}"
}

func inState(instrument string, s breaker.State) string {
	return "stability.breaker." + instrument + "{stability.breaker.state=" + s.String() + ",stability.name=stock,stability.policy=breaker}"
}

// Contract: 43
func TestEachCallIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		b := breaker.New(breaker.Config{Name: "stock", Consecutive: 3, MeterProvider: meter})
		policytest.Keep(t, b)
		const goroutines, each = 32, 200
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					ctx, cancel := context.WithCancel(t.Context())
					time.Sleep(rand.N(time.Second))
					func() {
						defer func() { _ = recover() }()
						_ = b.Run(ctx, func(context.Context) error {
							time.Sleep(rand.N(time.Second))
							switch rand.IntN(4) {
							case 0:
								return errCall
							case 1:
								cancel()
								return ctx.Err()
							case 2:
								if rand.IntN(10) == 0 {
									panic(errCall)
								}
							}
							return nil
						})
					}()
					cancel()
				}
			})
		}
		wg.Wait()
		values, stats := meter.Values(t), b.Stats()
		require.EqualValues(t, stats.Succeeded, values[calls("success")])
		require.EqualValues(t, stats.Failed, values[calls("failure")])
		require.EqualValues(t, stats.Ignored, values[calls("ignored")])
		require.EqualValues(t, stats.Rejected, values[calls("rejected")])
		require.EqualValues(t, goroutines*each, stats.Started()+stats.Rejected)
		require.NotZero(t, stats.Rejected, "the load was mixed")
		require.NotZero(t, stats.Ignored)
	})
}

// Contract: 43
func TestGaugesAreTrueWhenTheyAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		b := breaker.New(breaker.Config{Name: "stock", Consecutive: 1, MeterProvider: meter})
		policytest.Keep(t, b)
		requireState(t, meter, breaker.Closed)
		_ = b.Run(t.Context(), failed)
		requireState(t, meter, breaker.Open)
		time.Sleep(b.Stats().RetryAfter)
		requireState(t, meter, breaker.HalfOpen) // though no call has come
		require.NoError(t, b.Run(t.Context(), ok))
		requireState(t, meter, breaker.Closed)
		values := meter.Values(t)
		require.EqualValues(t, 1, values[inState("transitions", breaker.Open)])
		require.EqualValues(t, 1, values[inState("transitions", breaker.HalfOpen)])
		require.EqualValues(t, 1, values[inState("transitions", breaker.Closed)])
	})
}

func requireState(t *testing.T, meter policytest.Meter, state breaker.State) {
	t.Helper()
	values := meter.Values(t)
	for _, s := range []breaker.State{breaker.Closed, breaker.HalfOpen, breaker.Open} {
		want := 0.0
		if s == state {
			want = 1
		}
		require.Equal(t, want, values[inState("status", s)], "%v while %v", s, state)
	}
}

func TestEventsOnTheCallersSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Name: "stock", Consecutive: 1})
		require.Equal(t, []string{
			"stability.breaker.change{stability.breaker.cause=consecutive,stability.breaker.error.message=the call's own error,stability.breaker.failures=1,stability.breaker.slow=0,stability.breaker.state=open,stability.breaker.successes=0,stability.name=stock,stability.policy=breaker}",
			"stability.rejected{error.type=breaker_rejected,stability.name=stock,stability.policy=breaker}",
		}, policytest.Events(t, func(span trace.Span) {
			ctx := trace.ContextWithSpan(t.Context(), span)
			_ = b.Run(ctx, failed)
			_ = b.Run(ctx, ok)
		}))
	})
}

// A breaker that nobody holds any more is not read, nor kept alive, by its timers
// neither: those of one that is open, or counts over a long window.
//
// Contract: 43
func TestDroppedBreakerIsNotObserved(t *testing.T) {
	for _, cfg := range []breaker.Config{{}, {Consecutive: 1, OpenFor: time.Hour}, {Window: 24 * time.Hour}} {
		meter := policytest.NewMeter()
		func() {
			cfg.Name, cfg.MeterProvider = "stock", meter
			b := breaker.New(cfg)
			_ = b.Run(t.Context(), ok)
			_ = b.Run(t.Context(), failed)
			require.NotEmpty(t, meter.Values(t))
			runtime.KeepAlive(b)
		}()
		runtime.GC()
		require.Empty(t, meter.Values(t))
	}
}

// A group is observed for as long as somebody has one of its members.
func TestGroupOfAMemberIsObserved(t *testing.T) {
	meter := policytest.NewMeter()
	b := breaker.NewGroup(breaker.Config{Name: "stock", MeterProvider: meter}, stability.Keys{}).Get("eu")
	runtime.GC()
	runtime.GC()
	require.NotEmpty(t, meter.Values(t))
	runtime.KeepAlive(b)
}

// What the members of a group count is what the group reports, whatever has become
// of the members: started = succeeded + failed + ignored.
//
// Contract: 42, 43, 44
func TestGroupCountsEachCallOnce(t *testing.T) {
	for _, observe := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			meter := policytest.NewMeter()
			g := breaker.NewGroup(breaker.Config{
				Name: "stock", Consecutive: 2, OpenFor: 100 * time.Millisecond, ProbeFor: time.Second,
				Probes: 2, RampFor: time.Second, Window: 100 * time.Millisecond, Observe: observe, MeterProvider: meter,
			}, stability.Keys{Max: 4, IdleFor: time.Second})
			policytest.Keep(t, g)
			var asked, began, changed atomic.Int64
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for range 100 {
						time.Sleep(rand.N(100 * time.Millisecond))
						asked.Add(1)
						exit(func(goexit func()) {
							defer func() { _ = recover() }()
							ctx, cancel := context.WithCancel(context.Background())
							defer cancel()
							_ = g.Get(strconv.Itoa(rand.IntN(12))).Run(ctx, func(ctx context.Context) error {
								began.Add(1)
								time.Sleep(rand.N(100 * time.Millisecond))
								switch rand.IntN(12) {
								case 0:
									panic(errCall)
								case 1:
									goexit()
								case 2:
									cancel()
									return ctx.Err()
								case 3:
									time.Sleep(3 * time.Second) // longer than a probe may
								case 4, 5, 6:
									return errCall
								}
								return nil
							})
						})
						if rand.IntN(20) == 0 {
							b := g.Get(strconv.Itoa(rand.IntN(12)))
							switches := []func(){b.ForceClosed, b.Reset, b.ForceOpen}
							if observe {
								switches = switches[:2] // what is forced is refused all the same
							}
							switches[rand.IntN(len(switches))]()
							time.Sleep(rand.N(100 * time.Millisecond))
							b.Auto()
							changed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			values := meter.Values(t)
			started := values[calls("success")] + values[calls("failure")] + values[calls("ignored")]
			require.EqualValues(t, began.Load(), started)
			require.EqualValues(t, asked.Load(), started+values[calls("rejected")])
			const observed = "stability.breaker.observed_rejections{stability.name=stock,stability.policy=breaker}"
			require.Positive(t, values[observed], "by the breakers that keys past the bound share")
			require.Equal(t, !observe, values[calls("rejected")] > 0)
			require.Positive(t, changed.Load())
		})
	}
}

// Contract: 42, 43
func TestGroupIsObservedAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		g := breaker.NewGroup(breaker.Config{Name: "stock", Consecutive: 1, MeterProvider: meter}, stability.Keys{Max: 10})
		policytest.Keep(t, g)
		for i := range 5 {
			_ = g.Get(string(rune('a'+i))).Run(t.Context(), failed)
		}
		for i := range 100 {
			_ = g.Get(strconv.Itoa(i)).Run(t.Context(), ok)
			time.Sleep(time.Second) // the open ones and the first five fill the group
		}
		values := meter.Values(t)
		require.EqualValues(t, 5, values[calls("failure")])
		require.EqualValues(t, 5, values[inState("transitions", breaker.Open)])
		require.EqualValues(t, 100, values[calls("success")]+values[calls("rejected")], "those forgotten count on")
		require.EqualValues(t, 5, values[inState("status", breaker.HalfOpen)]+values[inState("status", breaker.Open)])
	})
}
