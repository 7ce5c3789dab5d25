package telemetry

import (
	"context"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/stripe"
)

// A Tally counts the outcomes of a policy's calls. The zero Tally is ready.
type Tally struct {
	// Sum, where it is not nil, counts every call too. The members of a Group share
	// one, so that the group's counts never fall, nor miss a call, when a member is
	// forgotten: not even a call that it counts afterwards.
	Sum *Tally

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
	if t.Sum != nil {
		t.Sum.Count(o)
	}
}

// Judge counts a call that ran as c judges it, and as a failure when c, or a method
// of err, panics: the panic goes on, and the call is counted all the same.
func (t *Tally) Judge(ctx context.Context, c stability.Classifier, err error) {
	if c == nil && err == nil { // most calls: nothing of the user's is asked
		t.succeed()
		return
	}
	t.judge(ctx, c, err)
}

func (t *Tally) succeed() {
	t.succeeded.Add(1)
	if t.Sum != nil {
		t.Sum.succeed()
	}
}

func (t *Tally) judge(ctx context.Context, c stability.Classifier, err error) {
	outcome := stability.Failure
	defer func() { t.Count(outcome) }()
	outcome = c.Outcome(ctx, err)
}

// CountRejected counts a call that was refused, and returns what
// [stripe.Counter.Add] does.
func (t *Tally) CountRejected() int64 {
	if t.Sum != nil {
		t.Sum.CountRejected()
	}
	return t.rejected.Add(1)
}

// Calls returns the counts.
func (t *Tally) Calls() stability.Calls {
	return stability.Calls{
		Succeeded: t.succeeded.Load(),
		Failed:    t.failed.Load(),
		Ignored:   t.ignored.Load(),
		Rejected:  t.rejected.Load(),
	}
}
