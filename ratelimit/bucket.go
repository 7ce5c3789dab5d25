package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// forever is an instant that does not come: 146 years after the limiter was made.
const forever = time.Duration(1) << 62

// A bucket is the one of x/time/rate with three faults mended from outside.
//
//   - A reading of the clock that is older than another already used would set the
//     bucket's own time back, and the time between would bring its tokens twice. So
//     time does not go back here: see advance.
//   - It grants up to a nanosecond early, which at high rates is any number of
//     tokens. So nothing is taken here that is not there: see take.
//   - Tokens cannot be given back. So those given back stay outside, and the
//     bucket's burst is lowered by as many: the two together never hold more than
//     the burst, nor gain tokens faster than the rate.
//
// A bucket is not safe for concurrent use.
type bucket struct {
	now   time.Duration // since base, as all instants
	spare int           // tokens outside that are to be had
	lent  int           // tokens outside that were lent: some of them may be spent
	sure  float64       // tokens inside, at the least
	base  time.Time
	rate.Limiter
	rate  float64
	burst int
}

// init makes the bucket a full one at base.
func (b *bucket) init(base time.Time, perSecond float64, burst int) {
	b.base, b.rate, b.burst = base, perSecond, burst
	// The zero rate.Limiter is empty, and what fills it is time.
	before := base.Add(-time.Second)
	b.SetLimitAt(before, limit(math.MaxFloat64))
	b.SetBurstAt(before, burst)
	b.SetLimitAt(base, limit(perSecond))
}

// limit keeps the largest rate from being rate.Inf, which has no burst.
func limit(perSecond float64) rate.Limit {
	return rate.Limit(min(perSecond, math.Nextafter(math.MaxFloat64, 0)))
}

// advance takes a reading of the clock.
func (b *bucket) advance(now time.Duration) { b.now = max(b.now, now) }

func (b *bucket) time(at time.Duration) time.Time { return b.base.Add(at) }

// tokensAt returns how many tokens there are to be had at an instant that is not
// before now, if none is taken until then.
func (b *bucket) tokensAt(at time.Duration) float64 {
	return float64(b.spare) + b.TokensAt(b.time(at))
}

func (b *bucket) tokens() float64 { return b.tokensAt(b.now) }

// take takes n tokens and reports whether they were there. Nothing is lent.
func (b *bucket) take(n int) bool {
	if inside := n - b.spare; inside > 0 {
		t := b.time(b.now)
		if b.sure < float64(inside) {
			b.sure = b.TokensAt(t)
		}
		if b.sure < float64(inside) || !b.AllowN(t, inside) {
			return false
		}
		b.sure -= float64(inside)
	}
	b.outside(max(b.spare-n, 0), 0)
	return true
}

// give gives n tokens back, as far as there is room. Nothing is lent.
func (b *bucket) give(n int) { b.outside(min(b.spare+n, b.burst), 0) }

// lend takes n tokens that are there and keeps room for them.
func (b *bucket) lend(n int) bool {
	if !b.take(n) {
		return false
	}
	b.outside(b.spare, n)
	return true
}

// reclaim takes back what is left of the tokens lent.
func (b *bucket) reclaim(left int) { b.outside(b.spare+left, 0) }

// outside settles how many tokens there are outside.
func (b *bucket) outside(spare, lent int) {
	if spare+lent != b.spare+b.lent {
		// This counts the tokens until now with the burst as it was.
		b.SetBurstAt(b.time(b.now), b.burst-spare-lent)
		b.sure = min(b.sure, float64(b.burst-spare-lent))
	}
	b.spare, b.lent = spare, lent
}

// Both are called while nothing is lent.

func (b *bucket) setRate(perSecond float64) {
	b.rate = perSecond
	b.SetLimitAt(b.time(b.now), limit(perSecond))
}

func (b *bucket) setBurst(burst int) {
	b.burst, b.spare = burst, min(b.spare, burst)
	b.SetBurstAt(b.time(b.now), burst-b.spare)
	b.sure = min(b.sure, float64(burst-b.spare))
}

func (b *bucket) full() bool { return b.tokens() >= float64(b.burst) }

// due returns the instant by which n tokens have come since those that are there
// now, or forever. n may be above the burst for what is taken bit by bit; that is an
// estimate to the nanosecond. For what the bucket can hold, the tokens are there at
// that instant and not a rounding error short of it, so that whoever sleeps until
// then need not sleep again. Nothing is lent.
func (b *bucket) due(n int64) time.Duration {
	lack := float64(n) - b.tokens()
	if lack <= 0 {
		return b.now
	}
	wait := lack / b.rate * float64(time.Second) // may be +Inf
	if wait >= float64(forever-b.now) {
		return forever
	}
	at := b.now + time.Duration(wait)
	if n > int64(b.burst) {
		return at
	}
	for step := time.Duration(1); b.tokensAt(at) < float64(n); step *= 2 {
		if at += step; at >= forever || at < 0 {
			return forever
		}
	}
	return at
}
