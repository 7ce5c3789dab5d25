package bulkhead

import (
	"context"

	"github.com/crumplezone/stability"
)

// A call is the admission of one without a mark that Run or Do makes, kept in their frame, where
// the way through [stability.Admission] costs as much as one of the two atomic
// operations that the bulkhead needs (BenchmarkFree beside BenchmarkFreeAdmitted).
// What it owes is the same: the permit comes back once, on every way out.
type call struct {
	b     *Bulkhead
	ctx   context.Context
	ended bool
}

// end tells the result of a call that returned.
func (c *call) end(err error) error {
	c.ended = true // also where a Classifier, which is asked with the permit back, panics
	c.b.settle(c.ctx, err)
	return err
}

// abort is deferred: it tells that the call did not return.
func (c *call) abort() {
	if !c.ended {
		_ = c.end(stability.ErrNoReturn)
	}
}
