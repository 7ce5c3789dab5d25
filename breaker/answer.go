package breaker

import (
	"context"

	"github.com/crumplezone/stability"
)

// A call that is answered long before it ends (a download, a stream) counts as a success
// when the answer comes, so that a host with long answers recovers, and a slow reader
// makes no call slow. If the call breaks later, it counts as a failure besides.

// Answered implements [stability.Answerer].
func (s *stay) Answered(ctx context.Context, began int64) stability.Admission {
	inARow := s.inARow.Load()
	s.b.settleClosed(ctx, s, stability.Success, s.b.slow(began))
	return stability.Admission{Gate: (*answeredStay)(s), N: inARow}
}

// An answeredStay is told how a call ended that was answered in a closed stay.
type answeredStay stay

// Release implements [stability.Releaser]. inARow is how many failures in a row there
// were before the answer: it did not end the row if the call fails after all.
func (a *answeredStay) Release(ctx context.Context, inARow int64, err error) error {
	s := (*stay)(a)
	return s.b.releaseAnswered(ctx, err, func() {
		if s.b.cfg.Consecutive > 0 {
			s.inARow.Add(inARow)
		}
		s.b.settleClosed(ctx, s, stability.Failure, false)
	})
}

// Answered implements [stability.Answerer]: the probe has succeeded, unless it is slow.
func (l *lease) Answered(ctx context.Context, began int64) stability.Admission {
	l.stay.b.settleProbe(ctx, l, stability.Success, l.stay.b.slow(began))
	return stability.Admission{Gate: (*answeredLease)(l)}
}

// An answeredLease is told how a probe ended that had been answered.
type answeredLease lease

// Release implements [stability.Releaser].
func (a *answeredLease) Release(ctx context.Context, _ int64, err error) error {
	l := (*lease)(a)
	b := l.stay.b
	return b.releaseAnswered(ctx, err, func() {
		b.mu.Lock()
		next := l.next
		if next == nil && l.answered && b.real == l.stay { // other probes are still awaited
			b.fail(CauseProbeFailed)
		}
		b.unlockAndTell(ctx)
		if next != nil {
			b.settleClosed(ctx, next, stability.Failure, false)
		}
	})
}

// Answered implements [stability.Answerer]. A call that only Observe let through changes
// nothing.
func (o *observer) Answered(_ context.Context, began int64) stability.Admission {
	return stability.Admission{Gate: o, N: began}
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
	outcome = b.cfg.Classify.Outcome(ctx, err)
	return err
}
