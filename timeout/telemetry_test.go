package timeout_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/timeout"
)

// Contract: 43
func TestTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		to := timeout.New(timeout.Config{Name: "stock", After: time.Second, MeterProvider: provider})
		policytest.Keep(t, to)
		spans := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")

		ctx, span := tracer.Start(t.Context(), "call")
		require.NoError(t, to.Run(ctx, ok))
		require.NoError(t, to.Run(ctx, ok))
		require.Error(t, to.Run(ctx, fails))
		require.Error(t, to.Run(ctx, hang))
		canceled, cancel := context.WithCancel(ctx)
		require.Error(t, to.Run(canceled, func(ctx context.Context) error { cancel(); return ctx.Err() }))
		require.NoError(t, to.SetAfter(1500*time.Millisecond))
		span.End()

		var data metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &data))
		require.Len(t, data.ScopeMetrics, 1)
		calls, limit := map[string]int64{}, 0.0
		for _, m := range data.ScopeMetrics[0].Metrics {
			switch m.Name {
			case "stability.calls":
				require.Equal(t, "{call}", m.Unit)
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					name, _ := p.Attributes.Value("stability.name")
					require.Equal(t, "stock", name.AsString())
					outcome, _ := p.Attributes.Value("stability.outcome")
					errorType, _ := p.Attributes.Value("error.type")
					calls[outcome.AsString()+" "+errorType.AsString()] = p.Value
				}
			case "stability.timeout.limit":
				require.Equal(t, "s", m.Unit)
				limit = m.Data.(metricdata.Gauge[float64]).DataPoints[0].Value
			case "stability.timeout.observed":
				require.Zero(t, m.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
			default:
				t.Errorf("unknown instrument %s", m.Name)
			}
		}
		require.Equal(t, map[string]int64{
			"success ": 2, "failure _OTHER": 1, "failure timeout_exceeded": 1, "ignored ": 1, "rejected timeout_rejected": 0,
		}, calls)
		require.InDelta(t, 1.5, limit, 0)

		events := spans.Ended()[0].Events()
		require.Len(t, events, 1)
		require.Equal(t, "stability.timeout.exceeded", events[0].Name)
		require.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("stability.policy", "timeout"),
			attribute.String("stability.name", "stock"),
			attribute.String("error.type", "timeout_exceeded"),
		}, events[0].Attributes)
	})
}
