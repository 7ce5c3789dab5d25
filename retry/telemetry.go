package retry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/telemetry"
)

type instruments struct {
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	calls *telemetry.Calls

	attempts, gaveUp                metric.Int64ObservableCounter
	budgetUsage, budgetLimit        metric.Int64ObservableUpDownCounter
	exhausted, overBudget, overTime metric.MeasurementOption
}

func newInstruments(cfg Config) instruments {
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	i := instruments{
		meter:      m,
		attrs:      m.With(),
		calls:      m.Calls("_OTHER", "retry_rejected"),
		attempts:   m.Counter("stability.retry.attempts", "{attempt}", "Attempts made, the first of each call included."),
		gaveUp:     m.Counter("stability.retry.exhausted", "{call}", "Calls given up although their last error could have been retried, by reason."),
		exhausted:  m.With(telemetry.KeyError.String(typeExhausted)),
		overBudget: m.With(telemetry.KeyError.String(typeBudget)),
		overTime:   m.With(telemetry.KeyError.String(typeDeadline)),
	}
	if !cfg.Budget.unlimited {
		i.budgetUsage = m.UpDownCounter("stability.retry.budget.usage", "{attempt}", "Retries and hedges that the budget paid for within its window.")
		i.budgetLimit = m.UpDownCounter("stability.retry.budget.limit", "{attempt}", "Retries and hedges that the budget pays for within its window.")
	}
	return i
}

func (i *instruments) observe(o metric.Observer, s Stats) {
	i.calls.Observe(o, s.Calls)
	o.ObserveInt64(i.attempts, s.Attempts, i.attrs)
	o.ObserveInt64(i.gaveUp, s.Exhausted, i.exhausted)
	o.ObserveInt64(i.gaveUp, s.OverBudget, i.overBudget)
	o.ObserveInt64(i.gaveUp, s.OutOfTime, i.overTime)
	if i.budgetUsage != nil {
		o.ObserveInt64(i.budgetUsage, s.Budget.Spent, i.attrs)
		o.ObserveInt64(i.budgetLimit, s.Budget.Limit, i.attrs)
	}
}

// event puts a retry on the caller's span.
func (r *Retry) event(ctx context.Context, attempt int, pause time.Duration) {
	telemetry.Event(ctx, "stability.retry", policy, r.cfg.Name, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.Int("stability.retry.attempt", attempt),
			attribute.Float64("stability.retry.pause", pause.Seconds()),
		}
	})
}
