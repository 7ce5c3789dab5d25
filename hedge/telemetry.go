package hedge

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/telemetry"
)

type instruments struct {
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	calls *telemetry.Calls

	started, won, suppressed metric.Int64ObservableCounter
	delay                    metric.Float64ObservableGauge
	budgetUsage, budgetLimit metric.Int64ObservableUpDownCounter
}

func newInstruments(cfg Config) instruments {
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	return instruments{
		meter:       m,
		attrs:       m.With(),
		calls:       m.Calls("_OTHER", "hedge_rejected"),
		started:     m.Counter("stability.hedge.started", "{call}", "Calls made beside a slow one."),
		won:         m.Counter("stability.hedge.won", "{call}", "Calls made beside a slow one that succeeded before it."),
		suppressed:  m.Counter("stability.hedge.suppressed", "{call}", "Calls not made beside a slow one because the budget was spent."),
		delay:       m.Gauge("stability.hedge.delay", "s", "Time that a call may take before another one is made beside it."),
		budgetUsage: m.UpDownCounter("stability.budget.usage", "{call}", "Retries and hedges that a budget paid for within its window."),
		budgetLimit: m.UpDownCounter("stability.budget.limit", "{call}", "Retries and hedges that a budget pays for within its window."),
	}
}

func (i *instruments) observe(o metric.Observer, s Stats) {
	i.calls.Observe(o, s.Calls)
	o.ObserveInt64(i.started, s.Hedges, i.attrs)
	o.ObserveInt64(i.won, s.Won, i.attrs)
	o.ObserveInt64(i.suppressed, s.Suppressed, i.attrs)
	o.ObserveFloat64(i.delay, s.Delay.Seconds(), i.attrs)
	if s.Budget.Limit < math.MaxInt64 { // else it is unlimited
		o.ObserveInt64(i.budgetUsage, s.Budget.Spent, i.attrs)
		o.ObserveInt64(i.budgetLimit, s.Budget.Limit, i.attrs)
	}
}

// event puts a call beside a slow one on the caller's span.
func (h *Hedge) event(ctx context.Context, call int, delay time.Duration) {
	telemetry.Event(ctx, "stability.hedge", policy, h.name, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.Int("stability.hedge.call", call),
			attribute.Float64("stability.hedge.delay", delay.Seconds()),
		}
	})
}
