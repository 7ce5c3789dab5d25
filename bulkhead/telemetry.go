package bulkhead

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/telemetry"
)

// settings is what a bulkhead, or all members of a Group, share.
type settings struct {
	live        live.Value[Config]
	name        string
	sum         *telemetry.Tally // of a Group's members; nil outside a Group
	sumObserved atomic.Int64     // of a Group's members
	group       *Group           // is reported for as long as somebody has a member
	meter       *telemetry.Meter
	attrs       metric.MeasurementOption
	calls       *telemetry.Calls
	waited      metric.Float64Histogram

	usage, limits, queueUsage, queueLimits metric.Int64ObservableUpDownCounter
	observed                               metric.Int64ObservableCounter
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		name:        cfg.Name,
		meter:       m,
		attrs:       m.With(),
		calls:       m.Calls("_OTHER", "bulkhead_rejected"),
		waited:      m.WaitDuration(),
		usage:       m.UpDownCounter("stability.bulkhead.usage", "{call}", "Permits in use."),
		limits:      m.UpDownCounter("stability.bulkhead.limit", "{call}", "Permits."),
		queueUsage:  m.UpDownCounter("stability.bulkhead.queue.usage", "{call}", "Calls waiting for a permit."),
		queueLimits: m.UpDownCounter("stability.bulkhead.queue.limit", "{call}", "Calls that may wait for a permit."),
		observed:    m.Counter("stability.bulkhead.observed_rejections", "{call}", "Calls that found no permit, and were let through because the bulkhead only observes."),
	}
	s.live.Init(cfg)
	return s
}

func (s *settings) observe(o metric.Observer, f Stats) {
	s.calls.Observe(o, f.Calls)
	o.ObserveInt64(s.usage, int64(f.InUse), s.attrs)
	o.ObserveInt64(s.limits, int64(f.Limit), s.attrs)
	o.ObserveInt64(s.queueUsage, int64(f.Queued), s.attrs)
	o.ObserveInt64(s.queueLimits, int64(f.QueueLimit), s.attrs)
	o.ObserveInt64(s.observed, f.Observed, s.attrs)
}
