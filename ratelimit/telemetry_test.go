package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/ratelimit"
)

// reading is what one collection saw.
type reading struct {
	group      bool
	overflowed int64
	calls      map[string]int64
	limit      float64
	queued     int64
	waits      uint64
	waited     float64
}

func collect(t *testing.T, reader metric.Reader) reading {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	require.Len(t, data.ScopeMetrics, 1)
	r := reading{calls: map[string]int64{}}
	units := map[string]string{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		units[m.Name] = m.Unit
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				name, _ := p.Attributes.Value("stability.name")
				require.Equal(t, "api", name.AsString())
				switch m.Name {
				case "stability.ratelimit.observed_rejections":
					require.Zero(t, p.Value)
					continue
				case "stability.ratelimit.queue.usage":
					r.queued = p.Value
					continue
				case "stability.keys.overflowed":
					r.overflowed, r.group = p.Value, true
					continue
				}
				outcome, _ := p.Attributes.Value("stability.outcome")
				errorType, _ := p.Attributes.Value("error.type")
				r.calls[outcome.AsString()+" "+errorType.AsString()] = p.Value
			}
		case metricdata.Gauge[float64]:
			r.limit = d.DataPoints[0].Value
		case metricdata.Histogram[float64]:
			r.waits, r.waited = d.DataPoints[0].Count, d.DataPoints[0].Sum
		}
	}
	want := map[string]string{"stability.calls": "{call}", "stability.ratelimit.limit": "{call}/s", "stability.ratelimit.queue.usage": "{call}", "stability.ratelimit.observed_rejections": "{call}"}
	if r.group {
		want["stability.keys.overflowed"] = "{call}"
	}
	if r.waits > 0 {
		want["stability.wait.duration"] = "s"
	}
	require.Equal(t, want, units)
	return r
}

// Contract: 43
func TestTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		l := ratelimit.New(ratelimit.Config{
			Name: "api", Rate: 1, Burst: 2, MaxWait: time.Second,
			MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		policytest.Keep(t, l)
		spans := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		ctx, span := tracer.Start(t.Context(), "call")

		require.NoError(t, l.Run(ctx, ok))
		require.Error(t, l.Run(ctx, func(context.Context) error { return errCall }))
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, l.Run(ctx, ok)) })
		synctest.Wait()
		requireRefused(t, l.Run(ctx, ok))
		require.False(t, l.Allow())
		r := collect(t, reader)
		require.EqualValues(t, 1, r.queued)
		require.Zero(t, r.waits)
		wg.Wait()
		require.NoError(t, l.SetRate(2.5))
		span.End()

		require.Equal(t, reading{
			calls: map[string]int64{"success ": 2, "failure _OTHER": 1, "ignored ": 0, "rejected ratelimit_rejected": 2},
			limit: 2.5, waits: 1, waited: 1,
		}, collect(t, reader))

		events := spans.Ended()[0].Events()
		require.Len(t, events, 1, "Allow has no span")
		require.Equal(t, "stability.rejected", events[0].Name)
		require.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("stability.policy", "ratelimit"),
			attribute.String("stability.name", "api"),
			attribute.String("error.type", "ratelimit_rejected"),
		}, events[0].Attributes)
	})
}

// Contract: 43
func TestGroupTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		g := ratelimit.NewGroup(ratelimit.Config{
			Name: "api", Rate: 1, Burst: 1, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		}, stability.Keys{Max: 2})
		policytest.Keep(t, g)
		for _, key := range []string{"a", "b", "c", "d"} {
			require.NoError(t, g.Get(key).Run(t.Context(), ok))
			time.Sleep(time.Second)
		}
		last := g.Get("d")
		require.NoError(t, last.Run(t.Context(), ok))
		requireRefused(t, last.Run(t.Context(), ok))
		require.Equal(t, reading{
			calls: map[string]int64{"success ": 5, "failure _OTHER": 0, "ignored ": 0, "rejected ratelimit_rejected": 1},
			limit: 1, group: true,
		}, collect(t, reader))
		require.NoError(t, g.Get("c").Run(t.Context(), ok))
		require.NoError(t, g.Get("e").Run(t.Context(), ok))
		require.EqualValues(t, 1, collect(t, reader).overflowed)
	})
}
