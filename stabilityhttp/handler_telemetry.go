package stabilityhttp

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/telemetry"
)

// handlerTelemetry is the instruments of a Handler.
type handlerTelemetry struct {
	meter  *telemetry.Meter
	calls  *telemetry.Calls
	status metric.Int64ObservableUpDownCounter

	// Of the calls that are rejected, by reason.
	limited, full, left metric.MeasurementOption
	// Of the status, by state.
	ready, draining, saturated metric.MeasurementOption
}

func newHandlerTelemetry(cfg HandlerConfig) *handlerTelemetry {
	const policy = "handler"
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	rejected := func(kind string) metric.MeasurementOption {
		return m.With(telemetry.KeyOutcome.String("rejected"), telemetry.KeyError.String(kind))
	}
	state := func(state string) metric.MeasurementOption {
		return m.With(attribute.String("stability.handler.state", state))
	}
	return &handlerTelemetry{
		meter:     m,
		calls:     m.Calls("_OTHER", "deadline_rejected"),
		status:    m.UpDownCounter("stability.handler.status", "1", "1 for the state that the handler is in, 0 for the others."),
		limited:   rejected("ratelimit_rejected"),
		full:      rejected("bulkhead_rejected"),
		left:      rejected("client_left"),
		ready:     state("ready"),
		draining:  state("draining"),
		saturated: state("saturated"),
	}
}

func (h *Handler) observe(o metric.Observer) {
	t, f := h.instruments, h.Stats()
	calls := f.Calls
	calls.Rejected = f.Expired
	t.calls.Observe(o, calls)
	t.calls.ObserveFailures(o, f.Limited, t.limited)
	t.calls.ObserveFailures(o, f.Full, t.full)
	t.calls.ObserveFailures(o, f.Left, t.left)
	err := h.Ready()
	for _, s := range []struct {
		in bool
		as metric.MeasurementOption
	}{
		{err == nil, t.ready},
		{errors.Is(err, ErrDraining), t.draining},
		{errors.Is(err, ErrSaturated), t.saturated},
	} {
		n := int64(0)
		if s.in {
			n = 1
		}
		o.ObserveInt64(t.status, n, s.as)
	}
}
