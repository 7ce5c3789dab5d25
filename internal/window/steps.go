package window

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/crumplezone/stability/internal/stripe"
)

// Steps tell apart the steps of time that events happen in, so that the path of an
// event reads no clock and takes no lock.
//
// An event is only added to a counter that runs on; whoever turns to the next step
// credits what was added since the last turn to the step that is ending. A timer
// turns while events come in, and stops by itself when the buckets have run empty:
// readers turn too, by the clock, so that what the timer owes is only the step that
// an event is credited to and never whether it is.
//
// No event is credited to a step later than that in which its Count returns. Where
// the timer is late, it is credited to an earlier one: to the last that was turned to
// before it came.
type Steps struct {
	sync.Mutex // guards the buckets too

	events  stripe.Counter
	ticking atomic.Bool // a timer will turn

	length   time.Duration
	buckets  Buckets
	epoch    time.Time     // what times are measured from: a reading of one clock, where time.Now reads two
	began    time.Duration // of the current step
	credited int64         // of events
	timer    *time.Timer
}

// Buckets hold what happened in the last steps.
type Buckets interface {
	// Advance adds events to the current step, and then makes the one that comes steps
	// later the current one. Negative steps say that the clock is another, such as that
	// of a test's next bubble: what the buckets hold is of no time then. Advance reports
	// whether they hold no events. The Steps are locked.
	Advance(events, steps int64) (empty bool)
}

// Init makes s, which must be zero, ready to turn b, whose steps are of that length.
func (s *Steps) Init(length time.Duration, b Buckets) {
	s.length, s.buckets = length, b
	s.epoch = time.Now()
}

// Now returns the time, for Turn.
func (s *Steps) Now() time.Duration { return time.Since(s.epoch) }

// Count counts an event.
func (s *Steps) Count() {
	s.events.Add(1)
	// First the count, then the look; tick stops first and looks at the count
	// then. Atomic operations have one order, so one of the two sees the other.
	if !s.ticking.Load() {
		s.start()
	}
}

// Turn credits the events since the last turn and makes the step of now the current
// one. Within a step, where that changes nothing but the credit, it does so if asked
// to. It reports whether the buckets are known to hold no events. The caller holds
// the lock.
func (s *Steps) Turn(now time.Duration, credit bool) (empty bool) {
	if now < s.began {
		now = s.Now() // another has turned since it was read
	}
	steps := int64((now - s.began) / s.length)
	if steps == 0 && !credit {
		return false
	}
	// Without a timer the buckets are empty of events. Those that come now will be
	// credited once start, which they call, has turned to their time.
	ticking := s.ticking.Load()
	var events int64
	if ticking {
		n := s.events.Load()
		events, s.credited = n-s.credited, n
	}
	empty = s.buckets.Advance(events, steps)
	s.began += time.Duration(steps) * s.length
	if steps < 0 {
		s.began = now
	}
	if ticking && (steps < 0 || steps >= 3) {
		s.arm(now) // the timer is late, or of a clock that stands still
	}
	return empty
}

func (s *Steps) start() {
	s.Lock()
	defer s.Unlock()
	if s.ticking.Load() {
		return
	}
	now := s.Now()
	s.Turn(now, true)
	s.ticking.Store(true)
	s.arm(now)
}

// arm sets a new timer to the end of the step. An old one, which may belong to another
// bubble and must not be touched then, finds that it is not the own one any more.
func (s *Steps) arm(now time.Duration) {
	var t *time.Timer
	w := weak.Make(s) // the timer keeps no policy alive that nobody has any more
	t = time.AfterFunc(s.left(now), func() {
		if s := w.Value(); s != nil {
			s.tick(&t)
		}
	})
	s.timer = t
}

// ago returns how many steps before the current one that of then is. The caller holds the
// lock.
func (s *Steps) ago(then time.Duration) int {
	if then >= s.began {
		return 0
	}
	return int((s.began-then-1)/s.length) + 1
}

// left returns how much is left of the current step, which is that of now.
func (s *Steps) left(now time.Duration) time.Duration { return s.length - (now - s.began) }

func (s *Steps) tick(t **time.Timer) {
	s.Lock()
	defer s.Unlock()
	if s.timer != *t {
		return
	}
	now := s.Now()
	empty := s.Turn(now, true)
	if s.timer != *t {
		return // Turn has armed another
	}
	if empty {
		s.ticking.Store(false)
		if s.events.Load() == s.credited {
			s.timer = nil
			return
		}
		s.ticking.Store(true)
	}
	(*t).Reset(s.left(now))
}
