package flight_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/internal/policytest"
)

// Read while one call for two callers is on its way.
//
// Contract: 43
func TestTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		f := flight.New[string](flight.Config{
			Name: "prices", StaleIfError: time.Minute, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		policytest.Keep(t, f)
		spans := tracetest.NewSpanRecorder()
		ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "page")
		keep(t, f, "k", "value")
		_, degraded, _ := f.Do(ctx, "k", fails)
		require.NotNil(t, degraded)
		leave := make(chan struct{})
		wait := func(context.Context) (string, error) { <-leave; return "", nil }
		do(ctx, f, "k", wait)
		synctest.Wait()
		do(ctx, f, "k", wait)
		synctest.Wait()

		var collected metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &collected))
		sums := map[string]int64{}
		for _, m := range collected.ScopeMetrics[0].Metrics {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				name, _ := p.Attributes.Value("stability.name")
				require.Equal(t, "prices", name.AsString())
				outcome, _ := p.Attributes.Value("stability.outcome")
				sums[m.Name+" "+outcome.AsString()] = p.Value
			}
		}
		require.Equal(t, map[string]int64{
			"stability.calls success": 1, "stability.calls failure": 1, "stability.calls ignored": 0, "stability.calls rejected": 0,
			"stability.flight.shared ": 1, "stability.flight.stale ": 1, "stability.flight.usage ": 1,
			"stability.flight.kept.usage ": 1, "stability.flight.kept.limit ": 1024,
		}, sums)

		close(leave)
		synctest.Wait()
		span.End()
		var events []string
		for _, e := range spans.Ended()[0].Events() {
			events = append(events, e.Name)
		}
		require.Equal(t, []string{"stability.degraded", "stability.shared"}, events)
	})
}
