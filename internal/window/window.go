// Package window counts successes, failures and slow calls over a sliding span of
// time, so that the path of a success reads no clock and takes no lock.
package window

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/internal/stripe"
)

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
// Failures and slow calls are put into the bucket of their time, under mu. A
// success is only added to a counter that runs on; whoever turns the buckets
// credits what was added since to the bucket that is ending. A timer turns them
// while successes come in, and stops by itself when the window has run empty:
// failures and readings turn them too, by the clock, so that what the timer owes
// is only the step in which a success is counted and never whether it is.
type Window struct {
	step   time.Duration
	enough int64

	successes stripe.Counter
	ticking   atomic.Bool // a timer will turn the buckets

	mu       sync.Mutex
	buckets  [buckets]Counts
	sum      Counts // of all buckets
	current  int
	epoch    time.Time     // what times are measured from: a reading of one clock, where time.Now reads two
	began    time.Duration // of the current bucket
	credited int64         // of successes
	timer    *time.Timer
}

// Init makes w, which must be zero, ready to count over span. Fewer calls than enough
// are too few for a ratio to say anything.
func (w *Window) Init(span time.Duration, enough int) {
	w.step = span / buckets
	w.enough = int64(enough)
	w.epoch = time.Now()
}

func (w *Window) now() time.Duration { return time.Since(w.epoch) }

// Success counts a success that was not slow.
func (w *Window) Success() {
	w.successes.Add(1)
	// First the count, then the look; tick stops first and looks at the count
	// then. Atomic operations have one order, so one of the two sees the other.
	if !w.ticking.Load() {
		w.start()
	}
}

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

func (w *Window) count(c Counts) Counts {
	now := w.now() // without the lock, which is short then
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now, false)
	w.buckets[w.current].add(c)
	w.sum.add(c)
	if w.sum.Calls() < w.enough {
		w.turn(now, true)
	}
	return w.sum
}

// Counts returns what is in the window now.
func (w *Window) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(w.now(), true)
	return w.sum
}

// turn credits the successes since the last turn and makes the bucket of now the
// current one. Within a bucket, where that changes nothing, it does so if asked to.
// The caller holds mu.
func (w *Window) turn(now time.Duration, credit bool) {
	if now < w.began {
		now = w.now() // another has turned since it was read
	}
	steps := int64((now - w.began) / w.step)
	if steps == 0 && !credit {
		return
	}
	// Without a timer the window is empty of successes. Those that come now will be
	// credited once start, which they call, has turned to their time.
	ticking := w.ticking.Load()
	if ticking {
		w.credit() // to the bucket that is ending
	}
	switch {
	case steps < 0 || steps >= buckets:
		w.buckets = [buckets]Counts{}
		w.sum = Counts{}
		w.began += time.Duration(steps) * w.step
		if steps < 0 { // another clock, such as that of a test's next bubble
			w.began = now
		}
	default:
		for range steps {
			w.current = (w.current + 1) % buckets
			old := &w.buckets[w.current]
			w.sum.Successes -= old.Successes
			w.sum.Failures -= old.Failures
			w.sum.Slow -= old.Slow
			*old = Counts{}
		}
		w.began += time.Duration(steps) * w.step
	}
	if ticking && (steps < 0 || steps >= 3) {
		w.arm() // the timer is late, or of a clock that stands still
	}
}

func (w *Window) credit() {
	n := w.successes.Load()
	c := Counts{Successes: n - w.credited}
	w.credited = n
	w.buckets[w.current].add(c)
	w.sum.add(c)
}

func (w *Window) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ticking.Load() {
		return
	}
	w.turn(w.now(), true)
	w.ticking.Store(true)
	w.arm()
}

// arm sets a new timer. An old one, which may belong to another bubble and must
// not be touched then, finds that it is not the window's own any more.
func (w *Window) arm() {
	var t *time.Timer
	t = time.AfterFunc(w.step, func() { w.tick(&t) })
	w.timer = t
}

func (w *Window) tick(t **time.Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != *t {
		return
	}
	w.turn(w.now(), true)
	if w.timer != *t {
		return // turn has armed another
	}
	if w.sum.Successes == 0 {
		w.ticking.Store(false)
		if w.successes.Load() == w.credited {
			w.timer = nil
			return
		}
		w.ticking.Store(true)
	}
	(*t).Reset(w.step)
}
