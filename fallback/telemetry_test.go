package fallback_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/fallback"
)

// Contract: 43
func TestTelemetry(t *testing.T) {
	reader := metric.NewManualReader()
	f := fallback.New(fallback.Config{Name: "offers", MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	spans := tracetest.NewSpanRecorder()
	ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "page")
	_, _, _ = fallback.Do(ctx, f, answers, second)
	_, _, _ = fallback.Do(ctx, f, fails, second)
	_, _, _ = fallback.Do(ctx, f, refused, second)
	_, _, _ = fallback.Do(ctx, f, fails, none)
	span.End()

	var collected metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &collected))
	sums := map[string]int64{}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			name, _ := p.Attributes.Value("stability.name")
			require.Equal(t, "offers", name.AsString())
			outcome, _ := p.Attributes.Value("stability.outcome")
			sums[m.Name+" "+outcome.AsString()] = p.Value
		}
	}
	require.Equal(t, map[string]int64{
		"stability.calls success": 1, "stability.calls failure": 2, "stability.calls ignored": 1, "stability.calls rejected": 0,
		"stability.fallback.degraded ": 2, "stability.fallback.unanswered ": 1,
	}, sums)

	var types []string
	for _, e := range spans.Ended()[0].Events() {
		require.Equal(t, "stability.degraded", e.Name)
		for _, a := range e.Attributes {
			if a.Key == "error.type" {
				types = append(types, a.Value.AsString())
			}
		}
	}
	require.Equal(t, []string{"_OTHER", "breaker_rejected"}, types)
	require.EqualValues(t, 2, f.Stats().Degraded)
}

func refused(context.Context) (string, error) {
	return "", &stability.Rejection{Policy: "breaker"}
}
