package stabilityhttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

// One request of each end, each counted once and under its reason.
//
// Contract: 43
func TestHandlerTelemetry(t *testing.T) {
	reader := metric.NewManualReader()
	limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1, MaxWait: time.Millisecond})
	guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	}), stabilityhttp.HandlerConfig{
		Name:          "shop",
		RateLimit:     ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 1}, stability.Keys{}),
		Client:        byHeader,
		Bulkhead:      limit,
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	policytest.Keep(t, guarded)
	spans := tracetest.NewSpanRecorder()
	ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "request")
	send := func(ctx context.Context, path, client, deadline string) {
		defer func() { _ = recover() }()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		r.Header.Set("X-Client", client)
		r.Header.Set(stabilityhttp.DeadlineHeader, deadline)
		guarded.ServeHTTP(httptest.NewRecorder(), r)
	}
	send(ctx, "/", "a", "60000")
	send(ctx, "/", "a", "60000") // over its rate
	send(ctx, "/panic", "b", "60000")
	send(ctx, "/", "c", "0")
	pass, err := limit.Enter(ctx)
	require.NoError(t, err)
	send(ctx, "/", "d", "60000") // full
	gone, leave := context.WithCancel(ctx)
	leave()
	send(gone, "/", "e", "60000") // waits, and is not there any more
	require.NoError(t, pass.Done(nil))
	guarded.Drain()
	span.End()

	var collected metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &collected))
	sums := map[string]int64{}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			name, _ := p.Attributes.Value("stability.name")
			require.Equal(t, "shop", name.AsString())
			outcome, _ := p.Attributes.Value("stability.outcome")
			kind, _ := p.Attributes.Value("error.type")
			state, _ := p.Attributes.Value("stability.handler.state")
			sums[m.Name+" "+outcome.AsString()+kind.AsString()+state.AsString()] = p.Value
		}
	}
	require.Equal(t, map[string]int64{
		"stability.calls success":                   1,
		"stability.calls failure_OTHER":             1,
		"stability.calls ignored":                   0,
		"stability.calls rejecteddeadline_rejected": 1, "stability.calls rejectedratelimit_rejected": 1,
		"stability.calls rejectedbulkhead_rejected": 1, "stability.calls rejectedclient_left": 1,
		"stability.handler.status ready": 0, "stability.handler.status draining": 1, "stability.handler.status saturated": 0,
	}, sums)

	var kinds []string
	for _, e := range spans.Ended()[0].Events() {
		for _, a := range e.Attributes {
			if e.Name == "stability.rejected" && a.Key == "error.type" {
				kinds = append(kinds, a.Value.AsString())
			}
		}
	}
	require.Equal(t, []string{"ratelimit_rejected", "deadline_rejected", "bulkhead_rejected", "bulkhead_rejected"}, kinds)
}
