package stabilityhttp_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Each part counts each request or attempt once, and says on the caller's span what
// became of it.
//
// Contract: 43
func TestTransportTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		base := &answers{t: t, all: []any{503, 200, status{429, "RateLimit", `"default";r=0;t=2`}, 200, 500}}
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/hang" {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return base.RoundTrip(req)
		}), stabilityhttp.TransportConfig{
			Name:          "shop",
			RateLimit:     ratelimit.Config{Rate: 1000},
			Hedge:         &hedge.Config{Delay: time.Second},
			Breaker:       breaker.Config{Consecutive: 2},
			MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		policytest.Keep(t, rt)
		spans := tracetest.NewSpanRecorder()
		ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "request")
		send := func(method, path string) {
			resp, err := rt.RoundTrip(newRequest(t, method, bubbleURL+path, nil).WithContext(ctx))
			if err == nil {
				_, _ = io.ReadAll(resp.Body)
				require.NoError(t, resp.Body.Close())
			}
		}
		send(http.MethodGet, "")      // 503, 200
		send(http.MethodPost, "")     // 429, 2 s, 200
		send(http.MethodPost, "")     // 500
		send(http.MethodPost, "hang") // times out, and the breaker opens
		send(http.MethodGet, "")      // refused
		span.End()

		var collected metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &collected))
		sums := map[string]int64{}
		longest := 0.0
		for _, scope := range collected.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name == "stability.timeout.limit" {
					longest = m.Data.(metricdata.Gauge[float64]).DataPoints[0].Value
				}
				sum, ok := m.Data.(metricdata.Sum[int64])
				if !ok || m.Name != "stability.calls" {
					continue
				}
				for _, p := range sum.DataPoints {
					name, _ := p.Attributes.Value("stability.name")
					require.Equal(t, "shop", name.AsString())
					policy, _ := p.Attributes.Value("stability.policy")
					outcome, _ := p.Attributes.Value("stability.outcome")
					kind, _ := p.Attributes.Value("error.type")
					if p.Value > 0 {
						sums[policy.AsString()+" "+outcome.AsString()+" "+kind.AsString()] = p.Value
					}
				}
			}
		}
		require.InDelta(t, 30, longest, 0)
		require.Equal(t, map[string]int64{
			"timeout success ": 2, "timeout failure _OTHER": 2, "timeout failure timeout_exceeded": 1, "timeout ignored ": 1,
			"breaker success ": 2, "breaker failure _OTHER": 3, "breaker ignored ": 1, "breaker rejected breaker_rejected": 1,
			"bulkhead success ": 2, "bulkhead failure _OTHER": 3, "bulkhead ignored ": 1,
			"ratelimit success ": 2, "ratelimit failure _OTHER": 3, "ratelimit ignored ": 1,
			"retry success ": 3, "retry failure _OTHER": 1, "retry ignored ": 1,
			"hedge success ": 1, "hedge failure _OTHER": 1, "hedge ignored ": 1,
		}, sums)
		var events []string
		for _, e := range spans.Ended()[0].Events() {
			events = append(events, e.Name)
		}
		require.Equal(t, []string{
			"stability.retry", "stability.retry", "stability.timeout.exceeded", "stability.breaker.change", "stability.rejected",
		}, events)
	})
}

// Every part of a Transport that has a name is a point, with its limits.
func TestTransportIsPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(name string) map[string]points.Point {
			list := map[string]points.Point{}
			for _, p := range points.List() {
				if p.Name == name {
					list[p.Policy] = p
				}
			}
			return list
		}
		const name, bare = "TestTransportIsPoints", "TestTransportIsPoints, without limits"
		base := &answers{t: t, all: []any{status{429, "RateLimit", `"default";r=0;t=40`}}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{
			Name: name, Hedge: &hedge.Config{}, RateLimit: ratelimit.Config{Rate: 10}, Retry: retry.Config{Attempts: 1},
		})
		policytest.Keep(t, rt)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		_, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, stabilityhttp.ErrQuota)

		list := named(name)
		for _, policy := range []string{"timeout", "retry", "hedge", "quota", "ratelimit", "bulkhead", "breaker"} {
			require.Contains(t, list, policy)
			require.NotEmpty(t, list[policy].Settings, policy)
		}
		require.Len(t, list, 7)
		require.Equal(t, []points.Setting{{Name: "total", Value: "30s"}, {Name: "stall", Value: "10s"}}, list["timeout"].Settings)
		require.Equal(t, stability.Calls{Ignored: 1}, list["timeout"].Calls)
		require.Equal(t, points.Point{
			Policy: "quota", Name: name, Keys: 1, Settings: []points.Setting{{Name: "longest", Value: "1m0s"}},
			Calls: stability.Calls{Rejected: 1}, Figures: map[string]float64{"spent": 1},
		}, list["quota"])
		time.Sleep(40 * time.Second)
		require.Zero(t, named(name)["quota"].Figures["spent"])

		policytest.Keep(t, stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{
			Name: bare, Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout | stabilityhttp.PartQuota,
		}))
		list = named(bare)
		require.Len(t, list, 3)
		require.NotContains(t, list, "timeout")
		require.NotContains(t, list, "quota")
	})
}
