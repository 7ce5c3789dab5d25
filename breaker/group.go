package breaker

import (
	"context"
	"iter"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/internal/window"
)

// A Group is a breaker for each key: a host, a shard, a tenant. Its members are
// bounded in number. One that refuses calls is never forgotten: it is open and its open
// time is not over, it ramps up, or it is forced. Nor is one that has calls under way.
// One that knows anything else, such as a failure in its window, makes room for a new key
// when nobody has asked for it in Keys.IdleFor.
//
// A breaker that keys past the bound share refuses nothing, as with Config.Observe: what
// one of them does says nothing of the others.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *stability.Group[Breaker]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	check.Group(policy, cfg.Validate(), keys)
	s := newSettings(cfg)
	s.sum = new(totals)
	g := &Group{settings: s}
	s.group = g
	g.members = stability.NewGroup(keys, stability.Members[Breaker]{
		Create: func(b *Breaker, key string, overflow bool) {
			b.watching = overflow // its keys have nothing to do with one another
			b.init(s, key)
		},
		Key:      func(b *Breaker) string { return b.key },
		Blank:    (*Breaker).blank,
		Harmless: (*Breaker).harmless,
	})
	overflowed := s.meter.Overflowed()
	telemetry.Observe(s.meter, g, func(g *Group, o metric.Observer) {
		g.observe(o, g.sum, g.inStates())
		o.ObserveInt64(overflowed, g.members.Stats().Overflowed, g.attrs)
	})
	telemetry.Register(s.meter, g, groupSource)
	return g
}

// Get returns the breaker of the key, or, where there is no room for one, that which the key
// shares with others past the bound ([stability.Keys.Max]). Ask for it at each call: a
// member that is kept elsewhere can be forgotten here, and another be made in its place.
// Get does not block, and allocates only to make a member.
func (g *Group) Get(key string) *Breaker {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Lookup returns the key's own breaker, if the group has one. It makes none, and does not
// count as use of it.
func (g *Group) Lookup(key string) (*Breaker, bool) {
	if g == nil {
		return nil, false
	}
	return g.members.Lookup(key)
}

// All returns the keys and their breakers, as [stability.Group.All] does.
func (g *Group) All() iter.Seq2[string, *Breaker] {
	if g == nil {
		return (*stability.Group[Breaker])(nil).All()
	}
	return g.members.All()
}

// Len returns how many keys have a breaker of their own.
func (g *Group) Len() int {
	if g == nil {
		return 0
	}
	return g.members.Len()
}

// By returns a gate that passes each call through the breaker of its key, which key returns given
// the call's context. The gate of a nil Group lets every call in.
func (g *Group) By(key func(context.Context) string) stability.Gate {
	if g == nil {
		return stability.Gates()
	}
	return g.members.By(key)
}

// Config returns the configuration in force, with its defaults.
func (g *Group) Config() Config {
	if g == nil {
		return Config{}
	}
	return *g.config()
}

// Reconfigure puts another configuration in force for all members, those to come too, as
// [Breaker.Reconfigure] does for one breaker. No member is dropped. It takes time by the number
// of members.
func (g *Group) Reconfigure(cfg Config) error {
	if g == nil {
		return nil
	}
	return g.reconfigure(cfg, func(was, is *Config) {
		for _, b := range g.members.All() {
			b.adopt(was, is)
		}
	})
}

// SetMode puts a mode in force for all members, those to come too, as [Breaker.SetMode] does
// for one breaker. What ForceOpen, ForceClosed or Auto said of a member before ends.
func (g *Group) SetMode(mode stability.Mode) error {
	if g == nil {
		return nil
	}
	if err := g.setMode(mode); err != nil {
		return err
	}
	for _, b := range g.members.All() {
		b.follow()
	}
	return nil
}

// GroupStats is what the members of a [Group] are doing and have done. The counts are
// those of forgotten members too.
type GroupStats struct {
	stability.Calls
	Observed int64 // calls that Observe let through and that would have been refused

	Closed, HalfOpen, Open int // members in each state at this moment

	// Overflowed is how often Get found no room for a key. The state of the breakers that
	// such keys share is not among those above.
	Overflowed int64
	Mode       stability.Mode // in force
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

		Overflowed: g.members.Stats().Overflowed,
		Mode:       g.live.Load().Mode,
	}
}

// blank reports whether a new breaker would be the same.
func (b *Breaker) blank() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stay.Load()
	return b.refusesNothing(s, time.Now()) && s.state == Closed &&
		(b.config().Consecutive == 0 || s.inARow.Load() == 0) && s.window.Counts() == (window.Counts{})
}

// harmless reports whether the breaker refuses nothing, and no call is under way.
func (b *Breaker) harmless() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusesNothing(b.stay.Load(), time.Now())
}

// refusesNothing reports whether the next call would be let in, whichever it is, and none
// is under way. The caller holds mu.
func (b *Breaker) refusesNothing(s *stay, now time.Time) bool {
	if b.mode != stability.ModeOn || b.running() {
		return false
	}
	if s.state == Open {
		return !s.due.IsZero() && !now.Before(s.due)
	}
	return b.ramped(s, now)
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
	for _, b := range g.members.All() {
		if !b.watching { // else it refuses nothing, and is of many keys
			in[b.State()]++
		}
	}
	return in
}
