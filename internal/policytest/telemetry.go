package policytest

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A Meter is an OpenTelemetry SDK whose metrics a test reads when it wants to.
type Meter struct {
	*metric.MeterProvider
	reader metric.Reader
}

// NewMeter returns a Meter with nothing in it.
func NewMeter() Meter {
	reader := metric.NewManualReader()
	return Meter{metric.NewMeterProvider(metric.WithReader(reader)), reader}
}

// Collect returns the metrics of the moment.
func (m Meter) Collect(t testing.TB) []metricdata.Metrics {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, m.reader.Collect(t.Context(), &data))
	var all []metricdata.Metrics
	for _, scope := range data.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	return all
}

// Values returns the metrics of the moment, each point under its instrument's name
// and its attributes in their order, such as
//
//	stability.calls{stability.outcome=success,stability.policy=breaker}
//
// A histogram stands for the number of what it has recorded.
func (m Meter) Values(t testing.TB) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	add := func(name string, attrs attribute.Set, v float64) {
		values[fmt.Sprintf("%s{%s}", name, attrs.Encoded(attribute.DefaultEncoder()))] = v
	}
	for _, metric := range m.Collect(t) {
		switch data := metric.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(metric.Name, p.Attributes, float64(p.Value))
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				add(metric.Name, p.Attributes, p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				add(metric.Name, p.Attributes, float64(p.Count))
			}
		default:
			t.Fatalf("%s has data of the type %T", metric.Name, data)
		}
	}
	return values
}

// Events runs f with a recorded span in its context and returns the events that
// were put on it, each as its name and its attributes.
func Events(t testing.TB, f func(trace.Span)) []string {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "test")
	f(span)
	span.End()
	var events []string
	for _, e := range spans.Ended()[0].Events() {
		attrs := attribute.NewSet(e.Attributes...)
		events = append(events, fmt.Sprintf("%s{%s}", e.Name, attrs.Encoded(attribute.DefaultEncoder())))
	}
	return events
}

// Keep keeps policies observed until the test ends: one that nobody uses any more
// may be gone at the next collection.
func Keep(t testing.TB, policies ...any) {
	t.Cleanup(func() { runtime.KeepAlive(policies) })
}
