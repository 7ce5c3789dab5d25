package fallback

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/telemetry"
)

type settings struct {
	cfg   Config
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	calls *telemetry.Calls

	degradedCalls, unansweredCalls metric.Int64ObservableCounter
}

func newSettings(cfg Config) *settings {
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	return &settings{
		cfg:             cfg,
		meter:           m,
		attrs:           m.With(),
		calls:           m.Calls("_OTHER", "fallback_rejected"),
		degradedCalls:   m.Counter("stability.fallback.degraded", "{call}", "Calls answered with a value that stands in for the real one."),
		unansweredCalls: m.Counter("stability.fallback.unanswered", "{call}", "Calls for which there was no other value either."),
	}
}

func (s *settings) observe(o metric.Observer, f Stats) {
	s.calls.Observe(o, f.Calls)
	o.ObserveInt64(s.degradedCalls, f.Degraded, s.attrs)
	o.ObserveInt64(s.unansweredCalls, f.Unanswered, s.attrs)
}
