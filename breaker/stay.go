package breaker

import (
	"sync/atomic"
	"time"
	"weak"

	"github.com/sony/gobreaker/v2"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/window"
)

// A stay is one time that a breaker is in a state. It is published once and, but
// for what is marked as guarded by Breaker.mu, safe to use without a lock.
type stay struct {
	b     *Breaker
	state State

	// Closed.
	window  window.Window
	inARow  atomic.Int64 // failures
	ramping atomic.Bool  // only a share is admitted, until rampEnd
	credit  float64      // of the share; guarded by Breaker.mu
	rampEnd time.Time
	rampFor time.Duration

	// Open and HalfOpen.
	machine *machine
	openFor time.Duration                       // how long an open stay lasts, or the one that a lost probe leads to
	due     time.Time                           // when an open stay ends; zero: when somebody says so
	ready   atomic.Pointer[stability.Rejection] // what an open stay answers; nil: look at the clock
	leases  []*lease                            // probes under way, in their order; guarded by Breaker.mu
	spare   *machine                            // of the next open stay
}

// forced reports whether somebody said that calls are to be refused.
func (s *stay) forced() bool { return s.state == Open && s.machine == nil }

// A reading is what a breaker has come to by a time, whether or not a call has come
// since to act on it.
type reading struct {
	state  State
	since  time.Time
	due    time.Time // when Open ends; zero: not by itself
	lapsed bool      // a probe is not back in its time
}

// read returns what s, which began then, has come to by now. The caller holds
// Breaker.mu.
func (s *stay) read(began, now time.Time) reading {
	r := reading{state: s.state, since: began, due: s.due}
	if l := s.lapsed(now); l != nil {
		r = reading{Open, l.until, l.until.Add(s.openFor), true}
	}
	if r.state == Open && !r.due.IsZero() && !now.Before(r.due) {
		r.state, r.since = HalfOpen, later(r.since, r.due)
	}
	return r
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lapsed returns the first probe that is not back in its time, or nil. The caller holds
// Breaker.mu.
func (s *stay) lapsed(now time.Time) *lease {
	for _, l := range s.leases {
		if !now.Before(l.until) {
			return l
		}
	}
	return nil
}

// A lease is a probe's slot. It ends once: with the probe's result, when its time
// is over, or with its stay.
type lease struct {
	stay  *stay
	until time.Time
	done  func(error) // the state machine's; nil when the lease has ended

	// Of a probe that succeeded; guarded by Breaker.mu.
	answered bool
	next     *stay // the closed stay that it led to, if it did
}

// A machine is gobreaker's two-step breaker for one outage, from opening to
// closing or to opening again: it says when to probe, how many probes may pass,
// and which state their results lead to. It is used with Breaker.mu held, so that
// its callback can only be answering our own call.
type machine struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	state gobreaker.State // where it last moved to
}

// newMachine returns a machine that has just opened. It probes when it is asked to, from
// the next instant on: when that is to be is up to the stay.
func newMachine(cfg *Config) *machine {
	m := &machine{}
	m.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          cfg.Name,
		MaxRequests:   uint32(cfg.Probes), //nolint:gosec // Validate bounds it.
		Timeout:       1,                  // 0 would mean a minute
		ReadyToTrip:   func(gobreaker.Counts) bool { return true },
		IsExcluded:    func(err error) bool { return err == errProbeIgnored }, //nolint:errorlint // Our own, told by verdict.
		OnStateChange: func(_ string, _, to gobreaker.State) { m.state = to },
	})
	done, _ := m.Allow() // closed: nothing is refused
	done(errProbeFailed)
	return m
}

// renewals is how many times in its open time a stay renews the Rejection that it
// keeps ready.
const renewals = 16

// keepReady keeps a Rejection ready for the callers that an open stay refuses. A
// true RetryAfter costs a reading of the clock and an allocation, which a refusal
// should not: so a timer renews it, and RetryAfter is too long by a sixteenth of
// the open time at the most. In the last sixteenth none is ready and callers look
// at the clock themselves: the stay ends when it is due, not when a timer runs.
//
// old is the Rejection to renew. Where it is not there any more the stay has ended,
// or is due, and nothing is renewed.
func (s *stay) keepReady(old *stability.Rejection, r stability.Rejection, step time.Duration) {
	r.RetryAfter = time.Until(s.due)
	if r.RetryAfter <= step+step/2 {
		s.ready.Store(nil)
		return
	}
	if s.ready.CompareAndSwap(old, &r) {
		w := weak.Make(s) // the timer keeps no breaker alive that nobody has any more
		time.AfterFunc(step, func() {
			if s := w.Value(); s != nil {
				s.keepReady(&r, r, step)
			}
		})
	}
}

// distrust sends callers to the clock when s is due although a Rejection is still
// kept ready: its timer is late, or belongs to the bubble of a finished test and
// will never run; or when more is left than there was: the clock is another.
func (s *stay) distrust() {
	if s.forced() {
		return
	}
	if left := time.Until(s.due); left <= 0 || left > s.openFor {
		s.ready.Store(nil)
	}
}
