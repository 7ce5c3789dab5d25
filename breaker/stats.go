package breaker

import (
	"time"

	"github.com/crumplezone/stability"
)

// State returns the state at this moment: an open breaker whose open time is over reads
// HalfOpen, and one whose probe is not back within ProbeFor reads Open, though nothing
// has come to act on it yet. It changes nothing.
func (b *Breaker) State() State {
	if b == nil {
		return Closed
	}
	now := b.lock()
	defer b.mu.Unlock()
	return b.stay.Load().read(b.since, now).state
}

// Counts is what is in the window of a closed breaker.
type Counts struct {
	Successes int64 // slow ones included
	Failures  int64 // slow ones included
	Slow      int64 // of either
}

// Stats is what a [Breaker] is doing and has done.
type Stats struct {
	stability.Calls
	Observed int64 // calls that Observe let through and that would have been refused

	State      State          // at this moment, as [Breaker.State] returns it
	Mode       stability.Mode // ModeOff after ForceClosed, ModeOpen after ForceOpen, or as SetMode said
	Since      time.Time      // of the last change of state
	Window     Counts         // zero unless closed
	Probing    int            // probes under way whose time is not over
	RetryAfter time.Duration  // until an open breaker probes; 0 when it is not open, forced open, or about to probe
	Opened     int64          // how many times it has opened by itself
}

// modeInForce returns the mode that the breaker was told, by itself or with its Group. The
// caller holds mu.
func (b *Breaker) modeInForce() stability.Mode {
	if mode := b.live.Load().Mode; b.mode == stability.ModeOn && mode == stability.ModeObserve {
		return mode
	}
	return b.mode
}

// Stats returns a reading of the moment. It changes nothing.
func (b *Breaker) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	now := b.lock()
	defer b.mu.Unlock()
	s := b.stay.Load()
	r := s.read(b.since, now)
	stats := Stats{
		Calls:    b.totals.tally.Calls(),
		Observed: b.totals.observed.Load(),
		State:    r.state,
		Mode:     b.modeInForce(),
		Since:    r.since,
		Probing:  len(b.real.leases),
		Opened:   b.opened,
	}
	if b.real.lapsed(now) != nil { // nobody has come to see it
		stats.Probing = 0
		stats.Opened++
	}
	if s.state == Closed {
		stats.Window = Counts(s.window.Counts())
	}
	if r.state == Open && !r.due.IsZero() {
		stats.RetryAfter = r.due.Sub(now)
	}
	return stats
}
