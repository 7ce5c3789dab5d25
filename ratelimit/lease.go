package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/internal/stripe"
)

// A call at a limiter that many use would spend most of its time on the lock, the
// clock and the bucket. So a busy limiter lends some tokens to those who come next,
// and each takes one by a single decrement. Where callers are seen to collide on the
// lease, and the burst is large enough, the next ones are spread over stripes, so that
// they do not wait for one another's cache line either. Whoever finds none on their
// stripe comes to the lock, and there all are taken back first: so nobody is refused,
// or waits, while a token lies on a stripe.
//
// That is exact where it has to be:
//
//   - Never more than Rate·t + Burst. What is lent has left the bucket and has a
//     place kept free in it, until it is known to be spent: the bucket and the
//     lease together never hold more than Burst, and gain no more than Rate. What
//     is granted in any span is at most what they held at its beginning and gained
//     in it.
//   - Exactly Burst after Burst/Rate seconds without calls. A lease of n tokens
//     ends leaseFor after it was made, at the latest, and its rest comes back to
//     the bucket. The bucket has gained Rate·leaseFor by then, or has no room: both
//     fit in because n + Rate·leaseFor <= Burst. From then on it gains Rate until
//     it holds all of Burst, and the whole takes no longer than filling it from
//     empty.
//
// In between, the place kept free is one that a bucket without a lease could have
// filled: the limiter may at worst grant as if Burst were smaller by n, which is a
// sixteenth of it.
const (
	maxLease = 64 // on one stripe, where there are stripes
	// minStripe is what it is worth to have stripes for.
	minStripe = 8
	// leaseShare is how many times all that is lent the burst is.
	leaseShare  = 16
	maxLeaseFor = 10 * time.Millisecond
	// minLeaseFor is what an alarm for the end of a lease is worth setting for.
	minLeaseFor = time.Millisecond
	// busyGrants is how many grants are to be expected in leaseFor for a lease.
	busyGrants = 64
)

// A lender decides whether to lend.
type lender struct {
	last     time.Duration // when a grant came to the lock
	granted  int16         // how many have come since
	size     int8          // of a lease without stripes; 0: none at this rate and burst
	striped  int8          // of the part of a lease on a stripe; 0: no stripes
	leaseFor int32         // in nanoseconds
}

func (l *lender) configure(b *bucket) {
	*l = lender{last: l.last}
	share := int(b.burst) / leaseShare
	size, striped := min(share, maxLease), min(share/stripes, maxLease)
	if striped < minStripe {
		striped = 0
	}
	leaseFor := min(float64(int(b.burst)-max(size, striped*stripes))/b.rate*float64(time.Second), float64(maxLeaseFor))
	if size > 1 && leaseFor >= float64(minLeaseFor) {
		l.size, l.striped, l.leaseFor = int8(size), int8(striped), int32(leaseFor) //nolint:gosec // At most maxLease.
	}
}

// wants reports, at a grant, whether grants come fast enough for a lease.
func (l *lender) wants(now time.Duration) bool {
	if l.size == 0 {
		return false
	}
	busy := now-l.last < time.Duration(l.leaseFor/busyGrants)*time.Duration(l.granted)
	l.last, l.granted = now, 1
	return busy
}

// onStripes is what Limiter.lease is while the tokens lent are on the stripes.
const onStripes = -1

// stripes is how many stripes there are: the same number for ever.
var stripes = stripe.Width()

// A part is what a stripe has of a lease.
type part struct {
	left atomic.Int64
	_    [120]byte
}

// spend takes a token of the lease, if there is one.
func (l *Limiter) spend() bool {
	for {
		n := l.lease.Load()
		switch {
		case n == onStripes:
			// The stripes were there before onStripes was stored, and stay. What is lent
			// otherwise meanwhile finds them empty.
			left := &l.alarm.stripes[stripe.Pick(len(l.alarm.stripes))].left
			return left.Load() > 0 && left.Add(-1) >= 0
		case n <= 0:
			return false
		case l.spendOf(n):
			return true
		}
	}
}

// spendOf takes a token of a lease of n, unless somebody was here since it was read.
func (l *Limiter) spendOf(n int64) bool {
	if l.lease.CompareAndSwap(n, n-1) {
		return true
	}
	l.alarm.crowded.Store(true) // the alarm is there: who lent had set it
	return false
}

// lend makes a lease if the limiter is busy. The caller holds mu and has just granted
// a token; nobody waits.
func (l *Limiter) lend() {
	if !l.lender.wants(l.bucket.now) {
		return
	}
	a, each := l.needAlarm(), int64(l.lender.striped)
	switch {
	case each > 0 && a.crowded.Load() && l.bucket.lend(int32(each)*int32(stripes)): //nolint:gosec // At most 64 times 128.
		if a.stripes == nil {
			a.stripes = make([]part, stripes)
		}
		for i := range a.stripes {
			a.stripes[i].left.Store(each)
		}
		l.lease.Store(onStripes)
	case l.bucket.lend(int32(l.lender.size)):
		l.lease.Store(int64(l.lender.size))
	default:
		return
	}
	a.leaseEnds = l.bucket.now + time.Duration(l.lender.leaseFor)
	l.setAlarm()
}

// unlend ends the lease and returns what is left of it. Nothing of it is spent
// afterwards. The caller holds mu.
func (l *Limiter) unlend() (left int32) {
	if l.bucket.lent == 0 {
		return 0
	}
	n := l.lease.Swap(0)
	if n == onStripes {
		n = 0
		for i := range l.alarm.stripes {
			n += max(l.alarm.stripes[i].left.Swap(0), 0)
		}
	}
	left = int32(n)                                        //nolint:gosec // No more than was lent.
	l.lender.granted += int16(l.bucket.lent) - int16(left) //nolint:gosec // At most 64 times 128.
	return left
}
