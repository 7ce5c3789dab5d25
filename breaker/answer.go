package breaker

import (
	"context"
	"time"

	"github.com/crumplezone/stability"
)

// A call that is answered long before it ends (a download, a stream) counts as a success
// when the answer comes, so that a host with long answers recovers, and a slow reader
// makes no call slow. If the call breaks later, it counts as a failure instead.

// Answered implements [stability.Answerer].
func (s *stay) Answered(ctx context.Context, began int64) stability.Admission {
	var row int64
	if s.b.config().Consecutive > 0 {
		row = s.inARow.Load()
	}
	s.b.settleClosed(ctx, s, stability.Success, s.b.slow(began), nil)
	a := stability.Admission{Gate: (*answeredStay)(s), N: int64(s.window.Now())}
	if row > 0 {
		a.Gate = &answeredInARow{stay: s, row: row, succeeded: s.b.totals.tally.Calls().Succeeded}
	}
	return a
}

// An answeredStay is told how a call ended that was answered in a closed stay.
type answeredStay stay

// Release implements [stability.Releaser].
func (a *answeredStay) Release(ctx context.Context, answered int64, err error) error {
	s := (*stay)(a)
	return s.b.releaseAnswered(ctx, err, func() { s.b.revoke(ctx, s, answered, err) })
}

// An answeredInARow is told how a call ended whose answer ended a row of failures. That
// row goes on where the call breaks, and no other has succeeded since.
type answeredInARow struct {
	*stay

	row, succeeded int64
}

// Release implements [stability.Releaser].
func (a *answeredInARow) Release(ctx context.Context, answered int64, err error) error {
	b := a.stay.b
	return b.releaseAnswered(ctx, err, func() {
		if b.totals.tally.Calls().Succeeded == a.succeeded {
			a.inARow.Add(a.row)
		}
		b.revoke(ctx, a.stay, answered, err)
	})
}

// revoke counts a failure in place of the success that was counted at the given time of
// the window.
func (b *Breaker) revoke(ctx context.Context, s *stay, answered int64, err error) {
	s.window.Revoke(time.Duration(answered))
	if b.config().Consecutive > 0 {
		s.inARow.Add(1)
	}
	b.judge(ctx, s, err)
}

// Answered implements [stability.Answerer]: the probe has succeeded, unless it is slow.
func (l *lease) Answered(ctx context.Context, began int64) stability.Admission {
	l.stay.b.settleProbe(ctx, l, stability.Success, l.stay.b.slow(began), nil)
	return stability.Admission{Gate: (*answeredLease)(l)}
}

// An answeredLease is told how a probe ended that had been answered.
type answeredLease lease

// Release implements [stability.Releaser].
func (a *answeredLease) Release(ctx context.Context, _ int64, err error) error {
	l := (*lease)(a)
	b := l.stay.b
	return b.releaseAnswered(ctx, err, func() {
		now := b.lock()
		b.lapse(now)
		next := l.next
		if next == nil && l.answered && b.real == l.stay { // other probes are still awaited
			b.reopen(now, now, reason{cause: CauseProbeFailed, err: err})
		}
		b.unlockAndTell(ctx)
		if next != nil {
			b.settleClosed(ctx, next, stability.Failure, false, err)
		}
	})
}

// releaseAnswered counts a call that was answered before, and has failed called where it
// failed after all.
func (b *Breaker) releaseAnswered(ctx context.Context, err error, failed func()) error {
	outcome := stability.Failure // also where a function of the user's panics
	defer func() {
		b.totals.tally.Count(outcome)
		if outcome == stability.Failure {
			failed()
		}
	}()
	outcome = b.config().Classify.Outcome(ctx, err)
	return err
}
