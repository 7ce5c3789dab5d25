package stabilityhttp

import (
	"cmp"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/timeout"
)

// limits counts how attempts ended under the time limits, which the clock keeps, in
// the figures that package timeout has for its own.
type limits struct {
	name     string
	total    time.Duration   // 0: none
	patience time.Duration   // 0: endless
	tally    telemetry.Tally // without the exceeded
	exceeded stripe.Counter  // failures

	calls   *telemetry.Calls
	limit   metric.Float64ObservableGauge
	attrs   metric.MeasurementOption
	failure metric.MeasurementOption
}

const (
	limitsPolicy = "timeout"
	exceededType = "timeout_exceeded"
)

func newLimits(cfg TransportConfig, total, patience time.Duration) *limits {
	m := telemetry.NewMeter(cfg.MeterProvider, limitsPolicy, cfg.Name)
	l := &limits{
		name:     cfg.Name,
		total:    total,
		patience: patience,
		calls:    m.Calls("_OTHER", limitsPolicy+"_rejected"),
		limit:    m.Gauge("stability.timeout.limit", "s", "How long a call may take."),
		attrs:    m.With(),
		failure:  m.With(telemetry.KeyOutcome.String("failure"), telemetry.KeyError.String(exceededType)),
	}
	telemetry.Observe(m, l, func(l *limits, o metric.Observer) {
		exceeded := l.exceeded.Load()
		l.calls.Observe(o, l.tally.Calls())
		l.calls.ObserveFailures(o, exceeded, l.failure)
		if longest := cmp.Or(l.total, l.patience); longest > 0 {
			o.ObserveFloat64(l.limit, longest.Seconds(), l.attrs)
		}
	})
	if total > 0 || patience > 0 {
		telemetry.Register(m, l, points.Source[limits]{Read: (*limits).point})
	}
	return l
}

// point is what the time limits are listed as among the points of a process.
func (l *limits) point() points.Point {
	s := l.stats()
	p := points.Point{
		Calls:   s.Calls,
		Figures: map[string]float64{"exceeded": float64(s.Exceeded)},
	}
	if l.total > 0 {
		p.Settings = append(p.Settings, points.Setting{Name: "total", Value: l.total.String()})
	}
	if l.patience > 0 {
		p.Settings = append(p.Settings, points.Setting{Name: "stall", Value: l.patience.String()})
	}
	return p
}

// count counts an attempt that was sent and has ended.
func (l *limits) count(c *clock, o stability.Outcome) {
	if by := c.endedBy(); o != stability.Failure || by != byLimit && by != byPatience {
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
