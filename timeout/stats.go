package timeout

import (
	"time"

	"github.com/crumplezone/stability"
)

// Stats is what a [Timeout] is doing and has done.
type Stats struct {
	stability.Calls
	Exceeded int64          // of those that failed, how many did so after the policy's deadline
	Observed int64          // calls that took longer than After while nothing was bounded
	After    time.Duration  // how long a call may take
	Mode     stability.Mode // in force

	// Overflowed is how often Get of a [Group] found no room for a key; 0 of a member.
	Overflowed int64
}

// Stats returns a reading of the moment.
func (t *Timeout) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	now := t.live.Load()
	s := Stats{
		Calls: t.tally.Calls(), Exceeded: t.exceeded.Load(), Observed: t.observed.Load(),
		After: t.after(&now.Config), Mode: now.Mode,
	}
	s.Failed += s.Exceeded
	return s
}

// Stats returns the sum of the members' counts, those of forgotten members too, and
// the After of the Config.
func (g *Group) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	now := g.live.Load()
	s := Stats{
		Calls: g.sum.Calls(), Exceeded: g.sumExceeded.Load(), Observed: g.sumObserved.Load(),
		After: now.Config.After, Mode: now.Mode, Overflowed: g.members.Stats().Overflowed,
	}
	s.Failed += s.Exceeded
	return s
}
