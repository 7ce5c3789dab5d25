package main

import (
	"context"
	"net/http"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// meters are the metrics of the process: those of the guards, how long pages
// took, and those of the Go runtime.
type meters struct {
	provider metric.MeterProvider
	pages    metric.Float64Histogram
	url      string  // where they are served; "" when they are not
	server   *server // nil when they are not
}

// serveMetrics serves the metrics at addr under /metrics. With no addr nothing
// is measured.
func serveMetrics(addr string) (*meters, error) {
	if addr == "" {
		return newMeters(noop.NewMeterProvider())
	}
	registry := promclient.NewRegistry()
	if err := registry.Register(collectors.NewGoCollector()); err != nil {
		return nil, err
	}
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	m, err := newMeters(sdk.NewMeterProvider(sdk.WithReader(exporter)))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if m.server, err = serve(addr, mux); err != nil {
		return nil, err
	}
	m.url = m.server.url + "/metrics"
	return m, nil
}

func newMeters(provider metric.MeterProvider) (*meters, error) {
	pages, err := provider.Meter("storefront").Float64Histogram("storefront.page.duration",
		metric.WithUnit("s"),
		metric.WithDescription("Time from when a shopper wanted a page to its last byte, or to when the shopper gave up."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	return &meters{provider: provider, pages: pages}, err
}

// record counts a page.
func (m *meters) record(ctx context.Context, side string, a answer, within time.Duration) {
	outcome := "bad"
	switch {
	case a.good(within) && a.degraded:
		outcome = "degraded"
	case a.good(within):
		outcome = "good"
	}
	m.pages.Record(ctx, a.took.Seconds(), metric.WithAttributes(
		attribute.String("storefront.run", side),
		attribute.String("storefront.page", a.page.path),
		attribute.String("storefront.outcome", outcome)))
}

// close stops serving.
func (m *meters) close() { m.server.close() }
