package repotest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// The tables of TELEMETRY.md are what an OpenTelemetry SDK was given by every policy at work, and nothing else.
//
// Contract: 43
func TestTelemetry(t *testing.T) {
	const file = "TELEMETRY.md"
	committed, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		instruments, events := emitted(t)
		text := replaceBetween(t, string(committed), "instruments", instruments)
		text = replaceBetween(t, text, "events", events)
		generated(t, file, text, "make telemetry")
	})
}

func replaceBetween(t *testing.T, text, marker, with string) string {
	t.Helper()
	begin, end := "<!-- "+marker+" -->\n", "<!-- /"+marker+" -->\n"
	before, rest, ok := strings.Cut(text, begin)
	require.True(t, ok, "there is no line %s", begin)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "there is no line %s", end)
	return before + begin + with + end + after
}

var errCall = errors.New("connection refused")

// emitted puts every policy to work and returns the tables of the instruments and of the events that this brought
// about.
func emitted(t *testing.T) (instruments, events string) {
	t.Helper()
	reader := metric.NewManualReader()
	mp := metric.NewMeterProvider(metric.WithReader(reader))
	spans := tracetest.NewSpanRecorder()
	ctx, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "")

	ok := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errCall }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	value := func(context.Context) (int, error) { return 1, nil }
	noValue := func(context.Context) (int, error) { return 0, errCall }

	b := breaker.New(breaker.Config{Name: "name", Consecutive: 1, MeterProvider: mp})
	_, _ = b.Run(ctx, fails), b.Run(ctx, ok)

	h := bulkhead.New(bulkhead.Config{Name: "name", Limit: 1, Queue: 1, MaxWait: time.Second, MeterProvider: mp})
	_ = h.Run(ctx, func(ctx context.Context) error { return h.Run(ctx, ok) })

	to := timeout.New(timeout.Config{Name: "name", After: time.Second, MeterProvider: mp})
	_, _ = to.Run(ctx, hangs), to.Run(ctx, fails)

	l := ratelimit.New(ratelimit.Config{Name: "name", Rate: 1, MaxWait: time.Second, MeterProvider: mp})
	_, _ = l.Run(ctx, ok), l.Run(ctx, ok)

	g := timeout.NewGroup(timeout.Config{Name: "name", After: time.Second, MeterProvider: mp}, stability.Keys{})
	_ = g.Get("key").Run(ctx, ok)

	r := retry.New(retry.Config{Name: "name", MeterProvider: mp})
	_ = r.Run(ctx, fails)

	hd := hedge.New(hedge.Config{Name: "name", Delay: time.Second, MeterProvider: mp})
	_, _ = hedge.Do(ctx, hd, func(ctx context.Context) (int, error) { time.Sleep(2 * time.Second); return 1, ctx.Err() })

	f := fallback.New(fallback.Config{Name: "name", MeterProvider: mp})
	_, _, _ = fallback.Do(ctx, f, noValue, func(context.Context, error) (int, error) { return 1, nil })

	fl := flight.New[int](flight.Config{Name: "name", StaleIfError: time.Minute, MeterProvider: mp})
	go func() {
		_, _, _ = fl.Do(ctx, "key", func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil })
	}()
	synctest.Wait()
	_, _, _ = fl.Do(ctx, "key", value)
	_, _, _ = fl.Do(ctx, "key", noValue)

	s := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Name: "name", MeterProvider: mp})
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))

	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &data))
	// What nobody uses any more is not observed.
	runtime.KeepAlive([]any{b, h, to, l, g, r, hd, f, fl, s})
	span.End()
	return instrumentTable(t, data), eventTable(spans.Ended()[0].Events())
}

func instrumentTable(t *testing.T, data metricdata.ResourceMetrics) string {
	t.Helper()
	rows := map[string]string{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			kind, keys := kindAndKeys(t, m)
			rows[m.Name] = fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", m.Name, kind, m.Unit, m.Description, code(keys))
		}
	}
	return "| instrument | kind | unit | what it tells | attributes beside `stability.policy` and `stability.name` |\n|---|---|---|---|---|\n" +
		sorted(rows)
}

func kindAndKeys(t *testing.T, m metricdata.Metrics) (kind string, keys map[string]bool) {
	t.Helper()
	keys = map[string]bool{}
	add := func(set attribute.Set) {
		for _, kv := range set.ToSlice() {
			keys[string(kv.Key)] = true
		}
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		kind = "up-down counter"
		if data.IsMonotonic {
			kind = "counter"
		}
		for _, p := range data.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge"
		for _, p := range data.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range data.DataPoints {
			add(p.Attributes)
		}
	default:
		t.Fatalf("%s has data of the type %T", m.Name, data)
	}
	return kind, keys
}

func eventTable(events []sdktrace.Event) string {
	keys := map[string]map[string]bool{}
	for _, e := range events {
		if keys[e.Name] == nil {
			keys[e.Name] = map[string]bool{}
		}
		for _, kv := range e.Attributes {
			keys[e.Name][string(kv.Key)] = true
		}
	}
	rows := map[string]string{}
	for name, keys := range keys {
		rows[name] = fmt.Sprintf("| `%s` | %s |\n", name, code(keys))
	}
	return "| event | attributes beside `stability.policy` and `stability.name` |\n|---|---|\n" + sorted(rows)
}

// code lists keys, but for those that everything has.
func code(keys map[string]bool) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if key != "stability.policy" && key != "stability.name" {
			list = append(list, "`"+key+"`")
		}
	}
	return strings.Join(list, ", ")
}

func sorted(rows map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		b.WriteString(rows[name])
	}
	return b.String()
}
