package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"github.com/crumplezone/stability/internal/telemetry"
)

// A Change is a change of a breaker's state, as callers see it.
type Change struct {
	Name  string // Config.Name
	Key   string // of the member of a Group; "" outside a Group
	From  State  // the To of the change before
	To    State  // never the same as From
	Cause Cause  // why

	// Err is the error of the call that failed last, which made the breaker open. It is
	// nil where no failure did: a call was slow, a probe was not back, or Auto, ForceOpen
	// or Reset was called. A call that did not return has [stability.ErrNoReturn].
	Err error
	// Counts is what was in the window of a closed breaker when it changed.
	Counts Counts
	// At is when. A change that only time brought about is told when the next call comes
	// or ends, and is as old as it is: an open time ends, and a probe's time too, though
	// nobody comes.
	At time.Time
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
		attrs := []attribute.KeyValue{
			keyState.String(c.To.String()),
			keyCause.String(string(c.Cause)),
		}
		if c.Err != nil {
			attrs = append(attrs, keyError.String(c.errorText()))
		}
		if c.Counts != (Counts{}) {
			attrs = append(attrs, keySuccesses.Int64(c.Counts.Successes), keyFailures.Int64(c.Counts.Failures), keySlow.Int64(c.Counts.Slow))
		}
		return attrs
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
	if c.Err != nil {
		attrs = append(attrs, slog.String("error", c.errorText()))
	}
	if c.Counts != (Counts{}) {
		attrs = append(attrs, slog.Int64("successes", c.Counts.Successes), slog.Int64("failures", c.Counts.Failures), slog.Int64("slow", c.Counts.Slow))
	}
	logger.LogAttrs(ctx, level, "breaker changed state", attrs...)
}

// longestError is how many bytes of an error's text are reported: it may hold all that
// a server has sent.
const longestError = 200

// errorText returns the text of Err as exporters and people can take it.
func (c Change) errorText() string {
	text := fmt.Sprint(c.Err) // which survives an Error that panics
	if len(text) <= longestError {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	const more = "…"
	cut := longestError - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.ToValidUTF8(text[:cut], "?") + more
}
