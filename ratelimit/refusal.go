package ratelimit

import (
	"fmt"
	"time"

	"github.com/crumplezone/stability"
)

// A refusal is a Rejection that is good for everybody who wants a token and comes
// before until: no token can be had before that instant by one who is not in the
// queue. So it is read without mu, and an old reading of the clock does no harm. It
// is taken back, under mu, when something else than time brings that instant
// forward.
type refusal struct {
	stability.Rejection
	made  time.Duration
	until time.Duration
	fresh time.Duration // its RetryAfter is near enough before
}

// at reports whether the refusal is good now, which was read after r was, for a call that
// waits until latest. A now before it was made is of another clock, such as that of a
// test's bubble.
func (r *refusal) at(now, latest time.Duration) bool { return r.made <= now && latest < r.until }

const (
	// staleShare is the share of RetryAfter by which it may be too long.
	staleShare = 16
	minFresh   = 100 * time.Microsecond
)

func (l *Limiter) rejection(retryAfter time.Duration) stability.Rejection {
	return stability.Rejection{Policy: policy, Name: l.name, Key: l.key, Reason: ErrLimited, RetryAfter: retryAfter}
}

func (l *Limiter) makeRefusal(now, until time.Duration) *refusal {
	left := max(until-now, 0)
	return &refusal{
		Rejection: l.rejection(left),
		made:      now,
		until:     until,
		fresh:     min(until, now+max(left/staleShare, minFresh)),
	}
}

// forced is the refusal of a limiter in ModeOpen.
func (l *Limiter) forced() *stability.Rejection {
	r := l.rejection(0)
	r.Reason = errForced
	return &r
}

// publish makes a refusal for this call and the next. The caller holds mu.
func (l *Limiter) publish(until time.Duration) *stability.Rejection {
	r := l.makeRefusal(l.bucket.now, until)
	l.refused.Store(r)
	return &r.Rejection
}

// renew returns r's Rejection, or one with a shorter RetryAfter.
func (l *Limiter) renew(r *refusal, now time.Duration) *stability.Rejection {
	if now < r.fresh {
		return &r.Rejection
	}
	next := l.makeRefusal(now, r.until)
	l.refused.CompareAndSwap(r, next) // else it was renewed, or taken back
	return &next.Rejection
}

// tooMany is the refusal of more tokens than there ever are. The caller holds mu.
func (l *Limiter) tooMany(n int) *stability.Rejection {
	r := l.rejection(0)
	r.Reason = fmt.Errorf("%w: %d tokens are more than the burst of %d", ErrLimited, n, l.bucket.burst)
	return &r
}
