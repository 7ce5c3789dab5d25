// Package stripe counts events from many goroutines without making them wait for
// one another.
package stripe

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// A Counter counts up. It is one word until two goroutines are seen to collide on
// it, and from then on one word for each of a number of stripes, a cache line
// apart: an idle counter is small, a busy one grows cheaper with each core (Dice,
// Lev and Moir, Scalable Statistics Counters, SPAA 2013; the LongAdder of Java's
// java.util.concurrent is of the same kind).
//
// The zero Counter is ready. It must not be copied.
type Counter struct {
	narrow atomic.Int64
	wide   atomic.Pointer[[]stripe]
}

// Two lines of 64 bytes: the hardware prefetches lines in pairs.
type stripe struct {
	n atomic.Int64
	_ [120]byte
}

// Add counts n more and returns the count of the word that it used, which grows
// with use: good for doing something once in so many times.
func (c *Counter) Add(n int64) int64 {
	if w := c.wide.Load(); w != nil {
		return (*w)[Pick(len(*w))].n.Add(n)
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
// cores, so that two running goroutines seldom share a stripe.
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
// cache. Any choice is a right one: it decides how fast an Add is and never what is
// counted.
func Pick(width int) int {
	var here byte
	page := uint32(uintptr(unsafe.Pointer(&here)) >> 11) //nolint:gosec // The address is hashed, not followed.
	// Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4):
	// the high bits of the product depend on all bits of the page.
	return int((page*0x9E3779B9)>>16) & (width - 1)
}
