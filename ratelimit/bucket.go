package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// forever is an instant that does not come: 146 years after the limiter, or the Group
// that it is a member of, was made.
const forever = time.Duration(1) << 62

// A bucket is the one of x/time/rate with three faults mended from outside.
//
//   - A reading of the clock that is older than another already used would set the
//     bucket's own time back, and the time between would bring its tokens twice. So
//     time does not go back here: see advance.
//   - It grants up to a nanosecond early, which at high rates is any number of
//     tokens. So nothing is taken here that is not there: see has.
//   - Tokens cannot be given back. So those given back stay outside, and the
//     bucket's burst is lowered by as many: the two together never hold more than
//     the burst, nor gain tokens faster than the rate.
//
// The rate.Limiter is told late of the tokens that are taken, and of many at once: it
// held some at an instant, and what was taken since is owed to it, as of that instant.
// While what it held is enough it need not be asked, which is most of the cost of a
// call at a limiter that no cache has room for. That comes to the same as if it had been
// told each time, as long as it would not have been full in between: then it would have
// lost what it had no room for. So each take looks first whether it is full by now. If
// so, nothing of before matters, and it begins anew: it holds all that it has room for
// and is owed nothing. See has and settle.
//
// A bucket is not safe for concurrent use.
type bucket struct {
	now   time.Duration // since the settings' base, as all instants
	rate  float64
	burst int32
	spare int32 // tokens outside that are to be had
	lent  int32 // tokens outside that were lent: some of them may be spent
	owed  int32 // tokens taken from inside since then, of which it has not been told

	then   time.Duration // the instant of which it was asked last, or at which it was full
	held   float64       // tokens inside then
	inside *rate.Limiter // apart, because most calls leave it alone
}

// init makes the bucket a full one at now.
func (b *bucket) init(now time.Duration, perSecond float64, burst int) {
	b.now, b.rate, b.burst = now, perSecond, int32(burst) //nolint:gosec // At most maxBurst.
	b.then, b.held = now, float64(burst)
	b.inside = rate.NewLimiter(limit(perSecond), burst)
}

// epoch stands for instant 0 where a rate.Limiter wants a time.Time. Only differences
// matter to it, and those of times with a monotonic reading are the cheapest.
var epoch = time.Now()

func clock(at time.Duration) time.Time { return epoch.Add(at) }

// limit keeps the largest rate from being rate.Inf, which has no burst.
func limit(perSecond float64) rate.Limit {
	return rate.Limit(min(perSecond, math.Nextafter(math.MaxFloat64, 0)))
}

// advance takes a reading of the clock.
func (b *bucket) advance(now time.Duration) { b.now = max(b.now, now) }

// shift makes now the present instant, though it is before: the clock is another. The
// tokens are what they were.
func (b *bucket) shift(now time.Duration) {
	b.settle()
	b.inside.SetBurstAt(clock(b.now), int(b.room())) // it counts the tokens until then
	b.now, b.then = now, now
	b.inside.SetBurstAt(clock(now), int(b.room()))
}

// tokensAt returns how many tokens there are to be had at an instant that is not
// before now, if none is taken until then.
func (b *bucket) tokensAt(at time.Duration) float64 { return float64(b.spare) + b.insideAt(at) }

// insideAt is tokensAt without those that are outside.
func (b *bucket) insideAt(at time.Duration) float64 {
	b.settle()
	// One that was told late may be a rounding error in debt.
	return max(b.inside.TokensAt(clock(at)), 0)
}

func (b *bucket) tokens() float64 { return b.tokensAt(b.now) }

// room returns how many tokens there are inside at the most.
func (b *bucket) room() int32 { return b.burst - b.spare - b.lent }

// take takes n tokens and reports whether they were there. Nothing is lent.
func (b *bucket) take(n int32) bool {
	if inside := n - b.spare; inside > 0 {
		if !b.has(inside) {
			return false
		}
		b.owed += inside
	}
	b.outside(max(b.spare-n, 0), 0)
	return true
}

// has reports whether there are n tokens inside.
func (b *bucket) has(n int32) bool {
	if !b.full() && b.left() < float64(n) {
		b.settle()
	}
	return b.left() >= float64(n)
}

// left returns how many tokens there are inside, at the least.
func (b *bucket) left() float64 { return b.held - float64(b.owed) }

// full reports whether there is no room for more tokens inside. If so it begins anew.
func (b *bucket) full() bool {
	room := float64(b.room())
	if float64(b.now-b.then)*1e-9*b.rate < room-b.left() {
		return false
	}
	b.then, b.held, b.owed = b.now, room, 0
	return true
}

// settle tells the rate.Limiter what it is owed, and asks it what it holds now.
func (b *bucket) settle() {
	if b.owed > 0 {
		// Not AllowN: it held that many but for a rounding error.
		b.inside.ReserveN(clock(b.then), int(b.owed))
	} else if b.then == b.now {
		return
	}
	b.then, b.owed = b.now, 0
	b.held = b.inside.TokensAt(clock(b.now))
}

// give gives n tokens back, as far as there is room. Nothing is lent.
func (b *bucket) give(n int32) { b.outside(b.spare+min(n, b.burst-b.spare), 0) }

// lend takes n tokens that are there and keeps room for them.
func (b *bucket) lend(n int32) bool {
	if !b.take(n) {
		return false
	}
	b.outside(b.spare, n)
	return true
}

// reclaim takes back what is left of the tokens lent.
func (b *bucket) reclaim(left int32) { b.outside(b.spare+left, 0) }

// outside settles how many tokens there are outside.
func (b *bucket) outside(spare, lent int32) {
	if spare+lent != b.spare+b.lent {
		b.settle()
		b.spare, b.lent = spare, lent
		b.resize()
		return
	}
	b.spare, b.lent = spare, lent
}

// resize lets the rate.Limiter, which is settled, know of its room.
func (b *bucket) resize() {
	// This counts the tokens until now with the burst as it was.
	b.inside.SetBurstAt(clock(b.now), int(b.room()))
	b.held = min(b.held, float64(b.room()))
}

// Both are called while nothing is lent.

func (b *bucket) setRate(perSecond float64) {
	b.settle()
	b.rate = perSecond
	b.inside.SetLimitAt(clock(b.now), limit(perSecond))
}

func (b *bucket) setBurst(burst int) {
	b.settle()
	b.burst = int32(burst) //nolint:gosec // At most maxBurst.
	b.spare = min(b.spare, b.burst)
	b.resize()
}

// due returns the instant by which n tokens have come since those that are there
// now, or forever. n may be above the burst for what is taken bit by bit; that is an
// estimate to the nanosecond. For what the bucket can hold, the tokens are there at
// that instant and not a rounding error short of it, so that whoever sleeps until
// then need not sleep again. Nothing is lent.
func (b *bucket) due(n int64) time.Duration {
	// Compared as take does, so that the two do not round differently.
	need := float64(n - int64(b.spare))
	lack := need - b.insideAt(b.now)
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
	for step := time.Duration(1); b.insideAt(at) < need; step *= 2 {
		if at += step; at >= forever || at < b.now {
			return forever
		}
	}
	return at
}
