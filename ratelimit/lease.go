package ratelimit

import "time"

// A call at a limiter that many use would spend most of its time on the lock, the
// clock and the bucket. So a busy limiter lends some tokens to those who come next,
// and each takes one by a single decrement.
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
	maxLease = 64
	// leaseShare is how many times a lease the burst is.
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
	granted  int16         // how many have come since, at least
	size     int16         // of a lease; 0: none at this rate and burst
	leaseFor int32         // in nanoseconds
}

func (l *lender) configure(b *bucket) {
	*l = lender{last: l.last}
	size := min(b.burst/leaseShare, maxLease)
	leaseFor := min(float64(b.burst-size)/b.rate*float64(time.Second), float64(maxLeaseFor))
	if size > 1 && leaseFor >= float64(minLeaseFor) {
		l.size, l.leaseFor = int16(size), int32(leaseFor)
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

// spend takes a token of the lease, if there is one.
func (l *Limiter) spend() bool { return l.lease.Load() > 0 && l.lease.Add(-1) >= 0 }

// lend makes a lease if the limiter is busy. The caller holds mu and has just granted
// a token; nobody waits.
func (l *Limiter) lend() {
	if l.lender.wants(l.bucket.now) && l.bucket.lend(int32(l.lender.size)) {
		l.lender.granted += l.lender.size
		l.needAlarm().leaseEnds = l.bucket.now + time.Duration(l.lender.leaseFor)
		l.lease.Store(int64(l.lender.size))
		l.setAlarm()
	}
}
