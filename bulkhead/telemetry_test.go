package bulkhead_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/internal/policytest"
)

var errCall = errors.New("the call's own error")

func calls(outcome string) string {
	switch outcome {
	case "failure":
		outcome = "error.type=_OTHER,stability.name=stock,stability.outcome=failure"
	case "rejected":
		outcome = "error.type=bulkhead_rejected,stability.name=stock,stability.outcome=rejected"
	default:
		outcome = "stability.name=stock,stability.outcome=" + outcome
	}
	return "stability.calls{" + outcome + ",stability.policy=bulkhead}"
}

func figure(instrument string) string {
	return "stability." + instrument + "{stability.name=stock,stability.policy=bulkhead}"
}

// Under a mixed load each call is in one outcome, and in the histogram if it waited.
//
// Contract: 43
func TestEachCallIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		b := bulkhead.New(bulkhead.Config{Name: "stock", Limit: 4, Queue: 6, MaxWait: time.Second, MeterProvider: meter})
		policytest.Keep(t, b)
		const goroutines, each = 16, 100
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					time.Sleep(rand.N(time.Second))
					func() {
						ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Second))
						defer cancel()
						defer func() { _ = recover() }()
						_ = b.Run(ctx, func(context.Context) error {
							time.Sleep(rand.N(time.Second))
							switch rand.IntN(5) {
							case 0:
								return errCall
							case 1:
								cancel()
								return ctx.Err()
							case 2:
								panic(errCall)
							}
							return nil
						})
					}()
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
		for _, n := range []int64{stats.Succeeded, stats.Failed, stats.Ignored, stats.Rejected} {
			require.NotZero(t, n, "the load was mixed")
		}
		require.NotZero(t, values[figure("wait.duration")])
		require.Less(t, values[figure("wait.duration")], float64(goroutines*each))
	})
}

// Contract: 43
func TestGaugesAreTrueWhenTheyAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		b := bulkhead.New(bulkhead.Config{Name: "stock", Limit: 2, Queue: 5, MeterProvider: meter})
		policytest.Keep(t, b)
		gauges := func(usage, limit, queued int) {
			t.Helper()
			values := meter.Values(t)
			require.EqualValues(t, usage, values[figure("bulkhead.usage")])
			require.EqualValues(t, limit, values[figure("bulkhead.limit")])
			require.EqualValues(t, queued, values[figure("bulkhead.queue.usage")])
			require.EqualValues(t, 5, values[figure("bulkhead.queue.limit")])
		}
		gauges(0, 2, 0)
		first, second := enter(t, b), enter(t, b)
		gauges(2, 2, 0)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			go func() { _ = b.Run(ctx, ok) }()
		}
		synctest.Wait()
		gauges(2, 2, 3)
		require.NoError(t, b.SetLimit(1))
		gauges(2, 1, 3)
		require.NoError(t, first.Done(nil))
		gauges(1, 1, 3)
		cancel()
		synctest.Wait()
		gauges(1, 1, 0)
		require.NoError(t, second.Done(nil))
		gauges(0, 1, 0)
	})
}

// The histogram has the calls that waited, with how long, whether they got in or
// not; those that did not wait are not in it.
//
// Contract: 43
func TestWaitDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		b := bulkhead.New(bulkhead.Config{Name: "stock", Limit: 1, Queue: 1, MaxWait: 3 * time.Second, MeterProvider: meter})
		policytest.Keep(t, b)
		require.NoError(t, b.Run(t.Context(), ok)) // does not wait

		pass := enter(t, b)
		requireRefused(t, b.Run(t.Context(), ok)) // after three seconds

		go func() { _ = b.Run(t.Context(), ok) }() // waits for one
		synctest.Wait()
		requireRefused(t, b.Run(t.Context(), ok)) // at once: the queue is full
		time.Sleep(time.Second)
		require.NoError(t, pass.Done(nil))
		synctest.Wait()

		for _, m := range meter.Collect(t) {
			if m.Name == "stability.wait.duration" {
				require.Equal(t, "s", m.Unit)
				p := m.Data.(metricdata.Histogram[float64]).DataPoints
				require.Len(t, p, 1)
				require.EqualValues(t, 2, p[0].Count)
				require.InDelta(t, 4.0, p[0].Sum, 1e-9)
				return
			}
		}
		t.Error("no histogram")
	})
}

func TestRefusalOnTheCallersSpan(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Name: "stock", Limit: 1})
	pass := enter(t, b)
	require.Equal(t, []string{
		"stability.rejected{error.type=bulkhead_rejected,stability.name=stock,stability.policy=bulkhead}",
	}, policytest.Events(t, func(span trace.Span) {
		requireRefused(t, b.Run(trace.ContextWithSpan(t.Context(), span), ok))
	}))
	require.NoError(t, pass.Done(nil))
}

// A bulkhead that nobody holds any more is not read, nor kept alive.
//
// Contract: 43
func TestDroppedBulkheadIsNotObserved(t *testing.T) {
	meter := policytest.NewMeter()
	b := bulkhead.New(bulkhead.Config{Name: "stock", Limit: 1, MeterProvider: meter})
	g := bulkhead.NewGroup(bulkhead.Config{Name: "stock", Limit: 1, MeterProvider: meter}, stability.Keys{})
	require.NoError(t, b.Run(t.Context(), ok))
	require.NoError(t, g.Get("a").Run(t.Context(), ok))
	require.EqualValues(t, 2, meter.Values(t)[calls("success")])
	runtime.KeepAlive(b)
	runtime.KeepAlive(g)
	runtime.GC()
	require.Empty(t, meter.Values(t))
}

// A group is one set of figures: keys are no attributes.
//
// Contract: 42, 43
func TestGroupIsObservedAsOne(t *testing.T) {
	meter := policytest.NewMeter()
	g := bulkhead.NewGroup(bulkhead.Config{Name: "stock", Limit: 3, Queue: 2, MeterProvider: meter}, stability.Keys{Max: 10})
	policytest.Keep(t, g)
	pass := enter(t, g.Get("held"))
	for n := range 10_000 {
		require.NoError(t, g.Get(strconv.Itoa(n)).Run(t.Context(), ok))
	}
	require.Equal(t, map[string]float64{
		calls("success"):                       10_000,
		calls("failure"):                       0,
		calls("ignored"):                       0,
		calls("rejected"):                      0,
		figure("bulkhead.usage"):               1,
		figure("bulkhead.limit"):               30,
		figure("bulkhead.observed_rejections"): 0,
		figure("bulkhead.queue.usage"):         0,
		figure("bulkhead.queue.limit"):         20,
		figure("keys.overflowed"):              0,
	}, meter.Values(t))
	require.NoError(t, pass.Done(nil))
}

// Contract: 43
func TestTelemetryAllocatesNothing(t *testing.T) {
	const limit = 8 // so that the first call has no mark
	without := bulkhead.New(bulkhead.Config{Limit: limit})
	with := bulkhead.New(bulkhead.Config{Limit: limit, MeterProvider: policytest.NewMeter()})
	for name, b := range map[string]*bulkhead.Bulkhead{"without an SDK": without, "with one": with} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			require.Zero(t, testing.AllocsPerRun(1000, func() { _ = b.Run(ctx, ok) }))
			for range limit {
				enter(t, b)
			}
			require.Zero(t, testing.AllocsPerRun(1000, func() { _ = b.Run(ctx, ok) }), "a refusal")
		})
	}
}
