package ratelimit

import (
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/telemetry"
)

// settings is what a limiter, or all members of a Group, share.
type settings struct {
	live        live.Value[Config]
	name        string
	base        time.Time        // what all instants count from
	sum         *telemetry.Tally // of a Group's members; nil outside a Group
	sumObserved atomic.Int64     // of a Group's members
	group       *Group           // is reported for as long as somebody has a member
	meter       *telemetry.Meter
	attrs       metric.MeasurementOption
	calls       *telemetry.Calls
	waited      metric.Float64Histogram

	limit      metric.Float64ObservableGauge
	queueUsage metric.Int64ObservableUpDownCounter
	observed   metric.Int64ObservableCounter
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		name:       cfg.Name,
		base:       time.Now(),
		meter:      m,
		attrs:      m.With(),
		calls:      m.Calls("_OTHER", "ratelimit_rejected"),
		waited:     m.WaitDuration(),
		limit:      m.Gauge("stability.ratelimit.limit", "{call}/s", "Calls a second that are let in over time, of one key."),
		queueUsage: m.UpDownCounter("stability.ratelimit.queue.usage", "{call}", "Calls waiting for a token."),
		observed:   m.Counter("stability.ratelimit.observed_rejections", "{call}", "Calls that found no token, and were let through because the limiter only observes."),
	}
	s.live.Init(cfg)
	return s
}

func (s *settings) observe(o metric.Observer, f Stats) {
	s.calls.Observe(o, f.Calls)
	o.ObserveFloat64(s.limit, f.Rate, s.attrs)
	o.ObserveInt64(s.queueUsage, int64(f.Queued), s.attrs)
	o.ObserveInt64(s.observed, f.Observed, s.attrs)
}
