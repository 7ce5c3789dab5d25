// Package window counts over a sliding span of time what happens often, so that its
// path reads no clock and takes no lock: the calls of a breaker, and those that pay
// for retries.
package window

import "time"

// buckets is how many steps a window slides in. It covers the last nine steps and
// the one that has begun.
const buckets = 10

// MinSpan is the shortest span that a Window is made for: a step of it costs a
// timer.
const MinSpan = 10 * time.Millisecond

// Counts is what a window has seen in its span. Successes and Failures exclude one
// another; Slow counts calls of either kind.
type Counts struct {
	Successes, Failures, Slow int64
}

// Calls returns successes and failures together.
func (c Counts) Calls() int64 { return c.Successes + c.Failures }

func (c *Counts) add(d Counts) {
	c.Successes += d.Successes
	c.Failures += d.Failures
	c.Slow += d.Slow
}

// A Window holds the counts of one span.
//
// Failures and slow calls are put into the bucket of their time, under the lock of
// the steps. Successes are the events that the steps credit.
type Window struct {
	steps  Steps
	enough int64

	buckets [buckets]Counts
	sum     Counts // of all buckets
	current int
}

// Init makes w, which must be zero, ready to count over span. Fewer calls than enough
// are too few for a ratio to say anything.
func (w *Window) Init(span time.Duration, enough int) {
	w.enough = int64(enough)
	w.steps.Init(span/buckets, w)
}

// SetEnough says how many calls are enough from now on.
func (w *Window) SetEnough(calls int) {
	w.steps.Lock()
	defer w.steps.Unlock()
	w.enough = int64(calls)
}

// Success counts a success that was not slow.
func (w *Window) Success() { w.steps.Count() }

// Failure counts a failure and returns the counts with it. Where those are enough,
// there may be more successes than they say: to count the ones that came since the
// current step began means to look at what every core has counted, and is seldom
// needed. What a ratio of failures or slow calls does not reach without them, it does
// not reach with them; for the rest, ask [Window.Counts].
func (w *Window) Failure(slow bool) Counts {
	c := Counts{Failures: 1}
	if slow {
		c.Slow = 1
	}
	return w.count(c)
}

// SlowSuccess counts a success that was slow and returns the counts as Failure does.
func (w *Window) SlowSuccess() Counts { return w.count(Counts{Successes: 1, Slow: 1}) }

// Now returns the time, for [Window.Revoke].
func (w *Window) Now() time.Duration { return w.steps.Now() }

// Revoke counts a failure in place of a success that was counted at the given time, or
// besides where the window has moved past that one.
func (w *Window) Revoke(success time.Duration) {
	now := w.steps.Now()
	w.steps.Lock()
	defer w.steps.Unlock()
	w.steps.Turn(now, true)
	// A late timer has credited it to an earlier step than its own.
	for ago := w.steps.ago(success); ago < buckets; ago++ {
		if b := &w.buckets[(w.current+buckets-ago)%buckets]; b.Successes > 0 {
			b.Successes--
			w.sum.Successes--
			break
		}
	}
	w.buckets[w.current].Failures++
	w.sum.Failures++
}

func (w *Window) count(c Counts) Counts {
	now := w.steps.Now() // without the lock, which is short then
	w.steps.Lock()
	defer w.steps.Unlock()
	w.steps.Turn(now, false)
	w.buckets[w.current].add(c)
	w.sum.add(c)
	if w.sum.Calls() < w.enough {
		w.steps.Turn(now, true)
	}
	return w.sum
}

// Counts returns what is in the window now.
func (w *Window) Counts() Counts {
	w.steps.Lock()
	defer w.steps.Unlock()
	w.steps.Turn(w.steps.Now(), true)
	return w.sum
}

// Advance implements [Buckets].
func (w *Window) Advance(successes, steps int64) (empty bool) {
	w.buckets[w.current].Successes += successes
	w.sum.Successes += successes
	if steps < 0 || steps >= buckets {
		w.buckets = [buckets]Counts{}
		w.sum = Counts{}
		steps = 0
	}
	for range steps {
		w.current = (w.current + 1) % buckets
		old := &w.buckets[w.current]
		w.sum.Successes -= old.Successes
		w.sum.Failures -= old.Failures
		w.sum.Slow -= old.Slow
		*old = Counts{}
	}
	return w.sum.Successes == 0
}
