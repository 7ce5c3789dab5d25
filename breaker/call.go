package breaker

import (
	"context"

	"github.com/crumplezone/stability"
)

// A call is one under a closed breaker with nothing to ask: no clock, no Classifier
// of the user's. It is the admission of the commonest case by far, kept in the
// frame of Run and Do, where the way through [stability.Admission] costs as much
// again as all that the breaker does (BenchmarkClosed beside BenchmarkClosedAdmitted).
// What it owes is the same: the result is told once, on every way out.
type call struct {
	b     *Breaker
	s     *stay
	ctx   context.Context
	ended bool
}

// simple returns the stay that a call may run under in this way, or nil.
func (b *Breaker) simple(ctx context.Context) *stay {
	if b == nil || ctx.Err() != nil {
		return nil
	}
	if cfg := b.config(); cfg.Classify != nil || cfg.SlowCall > 0 {
		return nil
	}
	if s := b.stay.Load(); s.state == Closed && !s.ramping.Load() {
		return s
	}
	return nil
}

// end tells the result of a call that returned.
func (c *call) end(err error) error {
	outcome := stability.Success
	if err != nil {
		outcome = stability.Classify(c.ctx, err) // which asks err, and may panic there
	}
	c.ended = true
	c.b.totals.tally.Count(outcome)
	c.b.settleClosed(c.ctx, c.s, outcome, false, err)
	return err
}

// abort is deferred: it tells that the call did not return.
func (c *call) abort() {
	if !c.ended {
		_ = c.end(stability.ErrNoReturn)
	}
}
