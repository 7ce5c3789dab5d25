package flight

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/telemetry"
)

type settings struct {
	live  live.Value[Config] // with the defaults
	name  string
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	ended *telemetry.Calls

	sharedCalls, staleCalls            metric.Int64ObservableCounter
	usage, staleUsage, staleUsageLimit metric.Int64ObservableUpDownCounter
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		name:            cfg.Name,
		meter:           m,
		attrs:           m.With(),
		ended:           m.Calls("_OTHER", "flight_rejected"),
		sharedCalls:     m.Counter("stability.flight.shared", "{call}", "Calls that joined another caller's."),
		staleCalls:      m.Counter("stability.flight.stale", "{call}", "Calls answered with the last good value."),
		usage:           m.UpDownCounter("stability.flight.usage", "{call}", "Calls made for one or more callers that have not returned."),
		staleUsage:      m.UpDownCounter("stability.flight.kept.usage", "{value}", "Last good values kept."),
		staleUsageLimit: m.UpDownCounter("stability.flight.kept.limit", "{value}", "Last good values that may be kept."),
	}
	s.live.Init(cfg.withDefaults())
	return s
}

func (s *settings) observe(o metric.Observer, f Stats) {
	s.ended.Observe(o, f.Calls)
	o.ObserveInt64(s.sharedCalls, f.Shared, s.attrs)
	o.ObserveInt64(s.staleCalls, f.Stale, s.attrs)
	o.ObserveInt64(s.usage, int64(f.Running), s.attrs)
	o.ObserveInt64(s.staleUsage, int64(f.Kept), s.attrs)
	o.ObserveInt64(s.staleUsageLimit, int64(s.live.Config().MaxStale), s.attrs)
}
