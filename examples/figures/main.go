// Figures shows what a breaker and a bulkhead tell about an upstream that fails: as
// lines of a log, as plain values, as the table of all policies of the process, and
// as the metrics that Prometheus scrapes.
//
//	go run ./examples/figures
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	promclient "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/points"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	registry := promclient.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithoutScopeInfo(), prometheus.WithoutTargetInfo())
	if err != nil {
		return err
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(exporter))
	pool := bulkhead.New(bulkhead.Config{Name: "pricing", Limit: 2, MeterProvider: provider})
	circuit := breaker.New(breaker.Config{
		Name:          "pricing",
		Consecutive:   3,
		MeterProvider: provider, // without it, the one given to otel.SetMeterProvider
		Logger:        slog.New(slog.NewTextHandler(w, nil)),
	})
	guard := stability.Gates(pool, circuit)

	fmt.Fprintln(w, "The log:")
	works := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("connection refused") }
	for _, call := range []func(context.Context) error{works, works, fails, fails, fails, works} {
		_ = guard.Run(ctx, call) // the last is refused: the breaker has opened
	}
	pass, err := pool.Enter(ctx) // a call that is under way while the figures are read
	if err != nil {
		return err
	}

	fmt.Fprintln(w, "\nThe values:")
	b, p := circuit.Stats(), pool.Stats()
	fmt.Fprintf(w, "breaker: %v, %+v\n", b.State, b.Calls)
	fmt.Fprintf(w, "bulkhead: %d of %d in use, %+v\n", p.InUse, p.Limit, p.Calls)

	fmt.Fprintln(w, "\nAll policies of the process:")
	points.Describe("pricing", points.Description{Guards: "prices, over HTTP", Owner: "team till"})
	fmt.Fprint(w, points.Markdown(points.List()))

	fmt.Fprintln(w, "\nWhat Prometheus scrapes:")
	page := scrape(registry)
	fmt.Fprint(w, page)

	if err := pass.Done(nil); err != nil {
		return err
	}
	want := stability.Calls{Succeeded: 2, Failed: 3, Rejected: 1}
	// A policy that nobody holds any more is not reported: what follows holds this one.
	if circuit.State() != breaker.Open || b.Calls != want || p.InUse != 1 || !strings.Contains(page, "stability_breaker_status{") {
		return fmt.Errorf("the breaker is %v with %+v, the bulkhead has %d in use", b.State, b.Calls, p.InUse)
	}
	return nil
}

// scrape returns what a scrape of the metrics gets, without the comments.
func scrape(registry *promclient.Registry) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var page strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			page.WriteString(line)
		}
	}
	return page.String()
}
