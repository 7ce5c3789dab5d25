package telemetry

import (
	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/stripe"
)

// A Tally counts the outcomes of a policy's calls. The zero Tally is ready.
type Tally struct {
	succeeded, failed, ignored, rejected stripe.Counter
}

// Count counts a call that ran.
func (t *Tally) Count(o stability.Outcome) {
	switch o {
	case stability.Success:
		t.succeeded.Add(1)
	case stability.Ignored:
		t.ignored.Add(1)
	default:
		t.failed.Add(1)
	}
}

// CountRejected counts a call that was refused, and returns what
// [stripe.Counter.Add] does.
func (t *Tally) CountRejected() int64 { return t.rejected.Add(1) }

// Calls returns the counts.
func (t *Tally) Calls() stability.Calls {
	return stability.Calls{
		Succeeded: t.succeeded.Load(),
		Failed:    t.failed.Load(),
		Ignored:   t.ignored.Load(),
		Rejected:  t.rejected.Load(),
	}
}
