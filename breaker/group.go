package breaker

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/keyed"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/internal/window"
)

// A Group is a breaker for each key: a host, a shard, a tenant. Its members are
// bounded in number; an open breaker is never forgotten, nor is one that has calls
// in its window.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *keyed.Map[Breaker]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	s := newSettings(cfg)
	if err := keys.Validate(); err != nil {
		panic(fmt.Errorf("breaker: %w", err))
	}
	s.sum = new(totals)
	g := &Group{settings: s}
	s.group = g
	g.members = keyed.New(keys,
		func(b *Breaker, key string) { b.init(s, key) },
		func(b *Breaker) string { return b.key },
		(*Breaker).forgettable)
	telemetry.Observe(s.meter, g, func(g *Group, o metric.Observer) { g.observe(o, g.sum, g.inStates()) })
	telemetry.Register(s.meter, g, (*Group).point)
	return g
}

// Get returns the breaker of the key, or the one that keys past the bound share.
// Ask for it at each call: a member that is kept elsewhere can be forgotten here,
// and another be made in its place. Get does not block, and allocates only to make
// a member.
func (g *Group) Get(key string) *Breaker {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// GroupStats is what the members of a [Group] are doing and have done. The counts are
// those of forgotten members too.
type GroupStats struct {
	stability.Calls
	Observed int64 // calls that Observe let through and that would have been refused

	Closed, HalfOpen, Open int // members in each state at this moment
}

// Stats returns the sum of the members' figures.
func (g *Group) Stats() GroupStats {
	if g == nil {
		return GroupStats{}
	}
	in := g.inStates()
	return GroupStats{
		Calls:    g.sum.tally.Calls(),
		Observed: g.sum.observed.Load(),
		Closed:   int(in[Closed]),
		HalfOpen: int(in[HalfOpen]),
		Open:     int(in[Open]),
	}
}

// forgettable reports whether a new breaker would be the same.
func (b *Breaker) forgettable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stay.Load()
	return !b.running() && b.mode == Auto && s.state == Closed && b.ramped(s, time.Now()) &&
		(b.cfg.Consecutive == 0 || s.inARow.Load() == 0) && s.window.Counts() == (window.Counts{})
}

// begin notes that a call was let in.
func (b *Breaker) begin() {
	if b.sum != nil {
		b.started.Add(1)
	}
}

// running reports whether calls are under way: their results would reach a breaker that
// nobody asks any more.
func (b *Breaker) running() bool {
	ended := b.totals.tally.Calls().Started() // first, so that the difference is never too small
	return b.started.Load() > ended
}

// inStates counts the members in each state.
func (g *Group) inStates() (in [len(states)]int64) {
	for b := range g.members.All() {
		in[b.State()]++
	}
	return in
}
