package breaker

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/crumplezone/stability/internal/telemetry"
)

// A Change is a change of a breaker's state, as callers see it.
type Change struct {
	Name  string    // Config.Name
	Key   string    // of the member of a Group; "" outside a Group
	From  State     // the To of the change before
	To    State     // never the same as From
	Cause Cause     // why
	At    time.Time // when
}

// A Cause says why a breaker changed its state.
type Cause string

// The causes.
const (
	CauseFailureRatio    Cause = "failure_ratio"    // to Open
	CauseSlowRatio       Cause = "slow_ratio"       // to Open
	CauseConsecutive     Cause = "consecutive"      // to Open
	CauseProbeFailed     Cause = "probe_failed"     // to Open
	CauseProbeLapsed     Cause = "probe_lapsed"     // to Open: not back within ProbeFor
	CauseOpenTimeOver    Cause = "open_time_over"   // to HalfOpen
	CauseProbesSucceeded Cause = "probes_succeeded" // to Closed
	CauseForced          Cause = "forced"           // by ForceOpen or ForceClosed
	CauseAuto            Cause = "auto"             // by Auto, to what the state machine says
	CauseReset           Cause = "reset"            // by Reset
)

// report puts the change on the caller's span and into the log.
func (c Change) report(ctx context.Context, logger *slog.Logger) {
	telemetry.Event(ctx, "stability.breaker.change", policy, c.Name, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			keyState.String(c.To.String()),
			keyCause.String(string(c.Cause)),
		}
	})
	if logger == nil {
		return
	}
	level := slog.LevelInfo
	if c.To == Open {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("name", c.Name),
		slog.String("from", c.From.String()),
		slog.String("to", c.To.String()),
		slog.String("cause", string(c.Cause)),
	}
	if c.Key != "" {
		attrs = append(attrs, slog.String("key", c.Key))
	}
	logger.LogAttrs(ctx, level, "breaker changed state", attrs...)
}
