package bulkhead

import (
	"slices"
	"sync/atomic"
	"time"
)

// work is how long calls took lately. It is asked about calls with a deadline that wait
// for a permit: whether the wait has left them time enough.
//
// Asked is not how long a call will take, which nobody knows, but which share of the
// calls ended within a time: of those that had the time which the call came with, and of
// those that had what the wait left it. A call is refused where the wait has cost it
// too much of its chances. So what no wait can change refuses nobody: neither calls
// whose time was always too short, nor those of a dependency that hangs, nor the slow
// half of calls that are of two kinds. And a call that did not wait is never refused, so
// that there are always some from which to learn that the work has become shorter.
//
// Guarded by Bulkhead.mu, but for brisk and calls.
type work struct {
	samples *[64]sample // a ring; nil until there is one
	next    int
	// brisk says that the last call took so little that reading the clock for each, and
	// locking mu to note it, would be a noticeable part of it. Then one in sixteen is timed.
	brisk atomic.Bool
	calls atomic.Uint32 // that came while it was
}

// sample is a call that took so long, and ended at that time since epoch.
type sample struct{ took, at time.Duration }

const (
	// A sample is believed for freshFor, and for freshFactor times what it says: long
	// calls are few.
	freshFor    = 10 * time.Second
	freshFactor = 8
	// briskWork is the time below which work is brisk.
	briskWork = time.Millisecond
)

func (w *work) add(took, now time.Duration) {
	if w.samples == nil {
		w.samples = new([64]sample)
		for i := range w.samples {
			w.samples[i].took = -1 // there is none yet
		}
	}
	w.samples[w.next] = sample{took, now}
	w.next = (w.next + 1) % len(w.samples)
	w.brisk.Store(took < briskWork)
}

// fresh reports whether s is to be believed at the time now. One from another clock, inside
// or outside a bubble of testing/synctest, is not.
func (s *sample) fresh(now time.Duration) bool {
	age := now - s.at
	return s.took >= 0 && age >= 0 && (age <= freshFor || age/freshFactor <= s.took)
}

// within returns how many of the calls took at most so long.
func (w *work) within(d, now time.Duration) (n int) {
	if w.samples == nil {
		return 0
	}
	for i := range w.samples {
		if s := &w.samples[i]; s.took <= d && s.fresh(now) {
			n++
		}
	}
	return n
}

// typical returns how long half of the calls took at most, or 0 where nothing is known.
func (w *work) typical(now time.Duration) time.Duration {
	if w.samples == nil {
		return 0
	}
	var took [len(w.samples)]time.Duration
	n := 0
	for i := range w.samples {
		if s := &w.samples[i]; s.fresh(now) {
			took[n] = s.took
			n++
		}
	}
	if n == 0 {
		return 0
	}
	slices.Sort(took[:n])
	return took[(n-1)/2]
}

// costs reports whether the wait costs a call that came with the time had so much that it
// should not start any more: whether half of its chances to end in time are lost.
//
// In a queue that does not empty, strict, whoever is let in is let in before somebody
// else who has more time. There one in thirty-two of the chances is enough, and work
// is taken to last an eighth longer than it did, since all who start have just as much
// time as they are let in with.
func (w *work) costs(wait, had, now time.Duration, strict bool) bool {
	if had == forever {
		return false
	}
	left := had - wait
	if 2*w.within(left, now) < w.within(had, now) {
		return true
	}
	return strict && 32*w.within(left-left/9, now) < 31*w.within(had-had/9, now)
}

// samples reports whether the next call should be timed.
func (b *Bulkhead) samples() bool {
	return !b.work.brisk.Load() || b.work.calls.Add(1)%16 == 0
}
