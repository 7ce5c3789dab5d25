package retry

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

	attempts, gaveUp                                      metric.Int64ObservableCounter
	exhausted, overBudget, outOfTime, pushedBack, refused metric.MeasurementOption
	budgetUsage, budgetLimit                              metric.Int64ObservableUpDownCounter
}

func newInstruments(cfg Config) instruments {
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	return instruments{
		meter:       m,
		attrs:       m.With(),
		calls:       m.Calls("_OTHER", "retry_rejected"),
		attempts:    m.Counter("stability.retry.attempts", "{attempt}", "Attempts made, the first of each call included."),
		gaveUp:      m.Counter("stability.retry.exhausted", "{call}", "Calls given up although their last error could have been retried, by reason."),
		exhausted:   m.With(telemetry.KeyError.String(typeExhausted)),
		overBudget:  m.With(telemetry.KeyError.String(typeBudget)),
		outOfTime:   m.With(telemetry.KeyError.String(typeDeadline)),
		pushedBack:  m.With(telemetry.KeyError.String(typePushback)),
		refused:     m.With(telemetry.KeyError.String(typeRefused)),
		budgetUsage: m.UpDownCounter("stability.budget.usage", "{call}", "Retries and hedges that a budget paid for within its window."),
		budgetLimit: m.UpDownCounter("stability.budget.limit", "{call}", "Retries and hedges that a budget pays for within its window."),
	}
}

func (i *instruments) observe(o metric.Observer, s Stats) {
	i.calls.Observe(o, s.Calls)
	o.ObserveInt64(i.attempts, s.Attempts, i.attrs)
	o.ObserveInt64(i.gaveUp, s.Exhausted, i.exhausted)
	o.ObserveInt64(i.gaveUp, s.OverBudget, i.overBudget)
	o.ObserveInt64(i.gaveUp, s.OutOfTime, i.outOfTime)
	o.ObserveInt64(i.gaveUp, s.PushedBack, i.pushedBack)
	o.ObserveInt64(i.gaveUp, s.Refused, i.refused)
	if s.Budget.Limit < math.MaxInt64 { // else it is unlimited
		o.ObserveInt64(i.budgetUsage, s.Budget.Spent, i.attrs)
		o.ObserveInt64(i.budgetLimit, s.Budget.Limit, i.attrs)
	}
}

// event puts a retry on the caller's span.
func (r *Retry) event(ctx context.Context, attempt int, pause time.Duration) {
	telemetry.Event(ctx, "stability.retry", policy, r.name, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.Int("stability.retry.attempt", attempt),
			attribute.Float64("stability.retry.pause", pause.Seconds()),
		}
	})
}
