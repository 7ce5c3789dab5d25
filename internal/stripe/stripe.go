// Package stripe counts events from many goroutines without making them wait for
// one another.
package stripe

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A Counter counts up. It is one word until two goroutines are seen to collide on
// it, and from then on one word for each of a number of stripes, a cache line
// apart: an idle counter is small, a busy one grows cheaper with each core (Dice,
// Lev and Moir, Scalable Statistics Counters, SPAA 2013; the LongAdder of Java's
// java.util.concurrent is of the same kind, and has threads that collide move too).
//
// The zero Counter is ready. It must not be copied.
type Counter struct {
	narrow atomic.Int64
	wide   atomic.Pointer[[]stripe]
}

// Two lines of 64 bytes: the hardware prefetches lines in pairs.
type stripe struct {
	n atomic.Int64

	// What look knows. It is on the line of n, which its caller has just written.
	last      atomic.Uint32 // the page of the goroutine looked at last
	handovers atomic.Uint32 // how many times that was another than the time before
	_         [128 - 16]byte
}

// Add counts n more and returns the count of the word that it used, which grows
// with use: good for doing something once in so many times.
func (c *Counter) Add(n int64) int64 {
	if w := c.wide.Load(); w != nil {
		page := here()
		s := &(*w)[pick(page, len(*w))]
		n = s.n.Add(n)
		if uint32(n)%lookEvery == 0 { //nolint:gosec // The low bits will do.
			s.look(page)
		}
		return n
	}
	old := c.narrow.Load()
	if c.narrow.CompareAndSwap(old, old+n) {
		return old + n
	}
	// Somebody was here between the two: make room. What narrow holds stays there
	// and is part of the sum.
	if c.wide.Load() == nil {
		w := make([]stripe, Width())
		c.wide.CompareAndSwap(nil, &w)
	}
	w := c.wide.Load()
	return (*w)[Pick(len(*w))].n.Add(n)
}

// Load returns the count. An Add that happened before Load is in it; one that
// runs at the same time may be. Counts read one after another never fall where
// only positive numbers are added.
func (c *Counter) Load() int64 {
	n := c.narrow.Load()
	if w := c.wide.Load(); w != nil {
		for i := range *w {
			n += (*w)[i].n.Load()
		}
	}
	return n
}

// Width is how many stripes to use: a power of two, at least twice the number of
// cores up to 64 of them, so that two running goroutines seldom share a stripe, and
// one that moves to another finds it free every second time or more often.
func Width() int {
	n := 4
	for n < 2*runtime.GOMAXPROCS(0) && n < 128 {
		n *= 2
	}
	return n
}

// Pick chooses one of width stripes, a power of two, by where the goroutine's stack
// is. Goroutines that run at the same time have different stacks, at least 2 KiB
// each, and one goroutine keeps to its stripe, so that the line stays in its core's
// cache, until a Counter sees that it shares that stripe with another one: then it
// moves, in all that use Pick. Any choice is a right one: it decides how fast an Add
// is and never what is counted.
func Pick(width int) int { return pick(here(), width) }

// here returns the number of the 2 KiB that the caller's frame is in.
func here() uint32 {
	var b byte
	return uint32(uintptr(unsafe.Pointer(&b)) >> 11) //nolint:gosec // The address is hashed, not followed.
}

func pick(page uint32, width int) int {
	// Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4):
	// the high bits of the product, seven for the largest width, depend on all bits
	// of the page. The salt is even and the factor odd, so that none is lost.
	return int((page*(0x9E3779B9+salts.of[page%places].Load()))>>25) & (width - 1)
}

// salts say where goroutines have moved to, by their pages. Few change once the
// goroutines that run have come apart, so a salt is in each core's cache, and lines
// that others write to are kept away. A salt is part of the factor and not added to
// the product: two goroutines that have one in common come apart too when it changes.
var salts struct {
	_  [128]byte
	of [places]atomic.Uint32
	_  [128]byte
}

const places = 256

// Two goroutines that share a stripe would make each other wait for as long as they
// run. That is seen by looking at who adds, once in lookEvery counts of the stripe:
// where it is often another than the time before, the one who finds that moves.
// Goroutines that use a stripe one after the other, on one core, are taken for such
// ones. It does not matter: a move is only another choice. Nor does it where there
// are more goroutines than can be kept apart, because moves are few then: the first
// at leastHandovers, each next one when there have been twice as many, and from
// mostHandovers on one for so many, which is one in 127,000 additions or fewer.
//
// lookEvery is odd, so that of two who take turns now the one is seen and now the
// other.
const (
	lookEvery      = 31
	leastHandovers = 64
	mostHandovers  = 4096
)

// look looks at the goroutine of page, which has just added to s, and moves it when
// it is time to. Several may look at once: a handover then is counted twice, or not
// at all.
func (s *stripe) look(page uint32) {
	if s.last.Load() == page {
		return
	}
	s.last.Store(page)
	n := s.handovers.Add(1)
	if doubled := n >= leastHandovers && n&(n-1) == 0; doubled || n%mostHandovers == 0 {
		move(page)
	}
}

// move makes the goroutine of page choose anew. Only the one moves: those that are
// alone stay so.
func move(page uint32) {
	salts.of[page%places].Store(rand.Uint32() &^ 1) //nolint:gosec // Any salt will do.
}
