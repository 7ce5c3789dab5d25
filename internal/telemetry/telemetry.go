// Package telemetry is what the policies have in common towards OpenTelemetry and
// log/slog: the meter, the outcome counter, callbacks that do not keep a policy
// alive, and events on the caller's span.
//
// Policies count for themselves, in plain words of memory. OpenTelemetry reads
// the counts when it collects.
package telemetry

import (
	"context"
	"runtime"
	"strings"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/points"
)

// Scope is the name of the instrumentation scope of all instruments.
const Scope = "github.com/crumplezone/stability"

// The attributes of all instruments and events.
const (
	KeyPolicy  = attribute.Key("stability.policy")
	KeyName    = attribute.Key("stability.name")
	KeyOutcome = attribute.Key("stability.outcome")
	KeyError   = attribute.Key("error.type")
)

// A Meter makes the instruments of one policy, or of one Group, which share their
// attributes stability.policy and stability.name.
type Meter struct {
	metric.Meter
	policy, name string
	attrs        []attribute.KeyValue
	observables  []metric.Observable
}

// NewMeter returns the Meter for a policy. A nil provider is the global one.
func NewMeter(mp metric.MeterProvider, policy, name string) *Meter {
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	attrs := []attribute.KeyValue{KeyPolicy.String(policy)}
	if name != "" {
		attrs = append(attrs, KeyName.String(valid(name)))
	}
	return &Meter{Meter: mp.Meter(Scope), policy: policy, name: name, attrs: attrs}
}

// With returns the attributes of the policy and more, ready for an observation or
// a record.
func (m *Meter) With(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, m.attrs...)...))
}

// Counter makes a counter that is read by the callback given to [Observe].
func (m *Meter) Counter(name, unit, description string) metric.Int64ObservableCounter {
	c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	m.observables = append(m.observables, c)
	return c
}

// UpDownCounter makes a sum that goes up and down, read by the callback given to
// [Observe].
func (m *Meter) UpDownCounter(name, unit, description string) metric.Int64ObservableUpDownCounter {
	c, err := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	m.observables = append(m.observables, c)
	return c
}

// Gauge makes a gauge that is read by the callback given to [Observe].
func (m *Meter) Gauge(name, unit, description string) metric.Float64ObservableGauge {
	g, err := m.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	handle(err)
	m.observables = append(m.observables, g)
	return g
}

// Overflowed makes the counter of a Group's keys that found no room.
func (m *Meter) Overflowed() metric.Int64ObservableCounter {
	return m.Counter("stability.keys.overflowed", "{call}", "Calls of a group whose key found no room and shared a member with others.")
}

// WaitDuration makes the histogram of the time that calls waited for a policy.
// Calls that did not wait are not in it.
func (m *Meter) WaitDuration() metric.Float64Histogram {
	h, err := m.Float64Histogram("stability.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Time that calls waited for a policy to let them in or refuse them; calls that did not wait are left out."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	handle(err)
	return h
}

// Observe calls f with owner at each collection, until owner is no longer
// reachable. It is called once, after the instruments of m are made.
func Observe[T any](m *Meter, owner *T, f func(*T, metric.Observer)) {
	w := weak.Make(owner)
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if owner := w.Value(); owner != nil {
			f(owner, o)
		}
		return nil
	}, m.observables...)
	handle(err)
	if err == nil {
		runtime.AddCleanup(owner, func(reg metric.Registration) { handle(reg.Unregister()) }, reg)
	}
}

// Register makes a policy that has a name one of the points of the process. Read of source
// leaves Policy and Name to it.
func Register[T any](m *Meter, owner *T, source points.Source[T]) {
	if m.name == "" {
		return
	}
	policy, name, read := m.policy, m.name, source.Read
	source.Read = func(owner *T) points.Point {
		p := read(owner)
		p.Policy, p.Name = policy, name
		return p
	}
	points.Register(owner, source)
}

// handle passes on what an SDK makes of an instrument. It is never a reason to
// fail a caller.
func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

// Calls is the counter of outcomes that every policy has.
type Calls struct {
	counter                             metric.Int64ObservableCounter
	success, failure, ignored, rejected metric.MeasurementOption
}

// Calls makes the counter of outcomes. A failure that has no better name gets the
// error.type failureType.
func (m *Meter) Calls(failureType, rejectedType string) *Calls {
	return &Calls{
		counter:  m.Counter("stability.calls", "{call}", "Calls that a policy has seen end, by outcome."),
		success:  m.With(KeyOutcome.String("success")),
		failure:  m.With(KeyOutcome.String("failure"), KeyError.String(failureType)),
		ignored:  m.With(KeyOutcome.String("ignored")),
		rejected: m.With(KeyOutcome.String("rejected"), KeyError.String(rejectedType)),
	}
}

// Observe reports the counts of n.
func (c *Calls) Observe(o metric.Observer, n stability.Calls) {
	o.ObserveInt64(c.counter, n.Succeeded, c.success)
	o.ObserveInt64(c.counter, n.Failed, c.failure)
	o.ObserveInt64(c.counter, n.Ignored, c.ignored)
	o.ObserveInt64(c.counter, n.Rejected, c.rejected)
}

// ObserveFailures reports failures that have an error.type of their own, given in
// as, and are not among those of [Calls.Observe].
func (c *Calls) ObserveFailures(o metric.Observer, n int64, as metric.MeasurementOption) {
	o.ObserveInt64(c.counter, n, as)
}

// Rejected puts an event for a refusal on the caller's span.
func Rejected(ctx context.Context, r *stability.Rejection) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("stability.rejected", trace.WithAttributes(identity(r.Policy, r.Name, KeyError.String(r.ErrorType()))...))
	}
}

// Event puts an event on the caller's span. more is called only when the span is
// recorded.
func Event(ctx context.Context, event, policy, name string, more func() []attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(event, trace.WithAttributes(identity(policy, name, more()...)...))
	}
}

func identity(policy, name string, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := append(more, KeyPolicy.String(policy))
	if name != "" {
		attrs = append(attrs, KeyName.String(valid(name)))
	}
	return attrs
}

// valid makes a name one that exporters take: one that is not refuses the whole export.
func valid(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
