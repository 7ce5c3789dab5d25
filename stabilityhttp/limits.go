package stabilityhttp

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/timeout"
)

// limits counts how attempts ended under the time limits, which the clock keeps, in
// the figures that package timeout has for its own.
type limits struct {
	name     string
	patience time.Duration
	tally    telemetry.Tally // without the exceeded
	exceeded stripe.Counter  // failures

	calls   *telemetry.Calls
	failure metric.MeasurementOption
}

const (
	limitsPolicy = "timeout"
	exceededType = "timeout_exceeded"
)

func newLimits(cfg TransportConfig, patience time.Duration) *limits {
	m := telemetry.NewMeter(cfg.MeterProvider, limitsPolicy, cfg.Name)
	l := &limits{
		name:     cfg.Name,
		patience: patience,
		calls:    m.Calls("_OTHER", limitsPolicy+"_rejected"),
		failure:  m.With(telemetry.KeyOutcome.String("failure"), telemetry.KeyError.String(exceededType)),
	}
	telemetry.Observe(m, l, func(l *limits, o metric.Observer) {
		exceeded := l.exceeded.Load()
		l.calls.Observe(o, l.tally.Calls())
		l.calls.ObserveFailures(o, exceeded, l.failure)
	})
	return l
}

// count counts an attempt that was sent and has ended.
func (l *limits) count(c *clock, o stability.Outcome) {
	if o != stability.Failure || c.endedBy() == byOthers {
		l.tally.Count(o)
		return
	}
	l.exceeded.Add(1)
	telemetry.Event(c.Context, "stability.timeout.exceeded", limitsPolicy, l.name, func() []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.KeyError.String(exceededType)}
	})
}

func (l *limits) stats() timeout.Stats {
	s := timeout.Stats{Calls: l.tally.Calls(), Exceeded: l.exceeded.Load(), After: l.patience}
	s.Failed += s.Exceeded
	return s
}
