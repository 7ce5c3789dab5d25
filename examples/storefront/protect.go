package main

import (
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/stabilityhttp"
)

// protected is the name of the side that must hold.
const protected = "protected"

// sides are the two runs, in the order in which they are played. They differ in
// guard and in nothing else.
var sides = []side{
	{name: "unprotected", guard: unguarded},
	{name: protected, guard: guarded},
}

// A side is one of the two runs.
type side struct {
	name string

	// guard puts what protects the calls to an upstream around base.
	guard func(upstream string, base http.RoundTripper, to sinks) http.RoundTripper
}

// sinks are where a guard reports to.
type sinks struct {
	meters  metric.MeterProvider
	changed func(breaker.Change)
}

// unguarded leaves the calls as net/http makes them: a call waits as long as the
// shopper does.
func unguarded(_ string, base http.RoundTripper, _ sinks) http.RoundTripper { return base }

// descriptions is what the list of points says of the upstreams.
var descriptions = map[string]points.Description{
	inventory:       {Guards: "what is in stock", Note: "no page without it"},
	pricing:         {Guards: "what things cost", Note: "no page without it"},
	recommendations: {Guards: "what else to buy", Note: "pages do without"},
}

// guarded is the library. An upstream without which there is no page gets most of
// the second that a page may take, and the defaults. Recommendations get a quarter
// of a second, no second attempt, few calls at a time, and a breaker that ten
// failures in a row open and that soon looks again.
func guarded(upstream string, base http.RoundTripper, to sinks) http.RoundTripper {
	points.Describe(upstream, descriptions[upstream])
	cfg := stabilityhttp.TransportConfig{
		Name:          upstream,
		Timeout:       800 * time.Millisecond,
		MeterProvider: to.meters,
	}
	if upstream == recommendations {
		cfg.Timeout = 250 * time.Millisecond
		cfg.Off = stabilityhttp.PartRetry
		cfg.Bulkhead = bulkhead.Config{Limit: 12, Queue: 12, MaxWait: 20 * time.Millisecond}
		cfg.Breaker = breaker.Config{Consecutive: 10, OpenFor: 500 * time.Millisecond, MaxOpenFor: 2 * time.Second}
	}
	cfg.Breaker.OnChange = to.changed
	return stabilityhttp.NewTransport(base, cfg)
}
