package ratelimit

import "github.com/crumplezone/stability"

// Stats is what a [Limiter] is doing and has done.
type Stats struct {
	stability.Calls
	Rate   float64 // tokens a second
	Burst  int     // tokens that the bucket holds when full
	Tokens float64 // tokens that it holds
	Queued int     // calls waiting
	// Observed is how many calls found no token while nothing was refused.
	Observed int64
	Mode     stability.Mode // in force

	// Overflowed is how often Get of a [Group] found no room for a key; 0 of a member.
	Overflowed int64
}

// Stats returns a reading of the moment. It does not block callers for longer than
// it takes to read.
func (l *Limiter) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	s := l.read()
	s.Calls, s.Mode = l.tally.Calls(), l.live.Load().Mode
	return s
}

// read is Stats without the counts.
func (l *Limiter) read() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter()
	s := Stats{
		Rate:   l.bucket.rate,
		Burst:  int(l.bucket.burst),
		Tokens: l.bucket.tokens(),
		Queued: l.queue.length(),
	}
	if l.alarm != nil {
		s.Observed = l.alarm.observed.Load()
	}
	return s
}
