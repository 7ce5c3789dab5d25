package timeout

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

// exceededType is the error.type of the failures that the deadline made.
const exceededType = "timeout_exceeded"

// settings is what a timeout, or all members of a Group, share.
type settings struct {
	live        live.Value[Config]
	name        string
	sum         *telemetry.Tally // of a Group's members, as in Timeout; nil outside a Group
	group       *Group           // is reported for as long as somebody has a member
	sumExceeded *stripe.Counter
	sumObserved atomic.Int64
	meter       *telemetry.Meter
	attrs       metric.MeasurementOption
	calls       *telemetry.Calls
	exceeded    metric.MeasurementOption

	limit   metric.Float64ObservableGauge
	overran metric.Int64ObservableCounter
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		name:     cfg.Name,
		meter:    m,
		attrs:    m.With(),
		calls:    m.Calls("_OTHER", "timeout_rejected"),
		exceeded: m.With(telemetry.KeyOutcome.String("failure"), telemetry.KeyError.String(exceededType)),
		limit:    m.Gauge("stability.timeout.limit", "s", "How long a call may take."),
		overran:  m.Counter("stability.timeout.observed", "{call}", "Calls that took longer than they may, and were let go on because the timeout only observes."),
	}
	s.live.Init(cfg)
	return s
}

func (s *settings) observe(o metric.Observer, f Stats) {
	others := f.Calls
	others.Failed -= f.Exceeded
	s.calls.Observe(o, others)
	s.calls.ObserveFailures(o, f.Exceeded, s.exceeded)
	o.ObserveFloat64(s.limit, f.After.Seconds(), s.attrs)
	o.ObserveInt64(s.overran, f.Observed, s.attrs)
}
