package ratelimit

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A Group is a limiter for each key: a host, a tenant, a client's address. Its
// members are bounded in number. One whose bucket is empty is never forgotten, nor is
// one for which a call waits or which SetRate or SetBurst has changed. One whose bucket is
// not full makes room for a new key when the group is full and nobody has asked for it in
// Keys.IdleFor: the key begins with a full bucket again then. Where a limit has to hold for
// longer than that, IdleFor is longer than a bucket takes to fill.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *stability.Group[Limiter]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	check.Group(policy, cfg.Validate(), keys)
	s := newSettings(cfg)
	s.sum = new(telemetry.Tally)
	g := &Group{settings: s}
	s.group = g
	g.members = stability.NewGroup(keys, stability.Members[Limiter]{
		Create:   func(l *Limiter, key string, _ bool) { l.init(s, key) },
		Key:      func(l *Limiter) string { return l.key },
		Blank:    (*Limiter).blank,
		Harmless: (*Limiter).harmless,
	})
	overflowed := s.meter.Overflowed()
	telemetry.Observe(s.meter, g, func(g *Group, o metric.Observer) {
		f := g.Stats()
		g.observe(o, f)
		o.ObserveInt64(overflowed, f.Overflowed, g.attrs)
	})
	telemetry.Register(s.meter, g, groupSource)
	return g
}

// Get returns the limiter of the key, or, where there is no room for one, that which the key
// shares with others past the bound ([stability.Keys.Max]). Ask for it at each call: a
// member that is kept elsewhere can be forgotten here, and another be made in its place.
// Get does not block, and allocates only to make a member.
func (g *Group) Get(key string) *Limiter {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Lookup returns the key's own limiter, if the group has one. It makes none, and does not
// count as use of it.
func (g *Group) Lookup(key string) (*Limiter, bool) {
	if g == nil {
		return nil, false
	}
	return g.members.Lookup(key)
}

// All returns the keys and their limiters, as [stability.Group.All] does.
func (g *Group) All() iter.Seq2[string, *Limiter] {
	if g == nil {
		return (*stability.Group[Limiter])(nil).All()
	}
	return g.members.All()
}

// Len returns how many keys have a limiter of their own.
func (g *Group) Len() int {
	if g == nil {
		return 0
	}
	return g.members.Len()
}

// By returns a gate that passes each call through the limiter of its key, which key returns given
// the call's context. The gate of a nil Group lets every call in.
func (g *Group) By(key func(context.Context) string) stability.Gate {
	if g == nil {
		return stability.Gates()
	}
	return g.members.By(key)
}

// Config returns the configuration in force.
func (g *Group) Config() Config {
	if g == nil {
		return Config{}
	}
	return *g.live.Config()
}

// Reconfigure puts another configuration in force for all members, those to come too, as
// [Limiter.Reconfigure] does for one limiter. No member is dropped. A rate or a burst that
// SetRate or SetBurst has given a member stays. Reconfigure takes time by the number of
// members.
func (g *Group) Reconfigure(cfg Config) error {
	if g == nil {
		return nil
	}
	return g.reconfigure(cfg, g.apply)
}

// SetMode puts a mode in force for all members, as [Limiter.SetMode] does for one limiter.
func (g *Group) SetMode(mode stability.Mode) error {
	if g == nil {
		return nil
	}
	return g.setMode(mode, g.apply)
}

// apply lets all members follow the configuration in force. One that is made in the meantime
// begins with it.
func (g *Group) apply() {
	for _, l := range g.members.All() {
		l.apply()
	}
}

// Stats returns the sum of the members' counts, those of forgotten members too, of
// the tokens that they hold and of the calls that wait, and the Rate and the Burst
// of the Config.
func (g *Group) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	now := g.live.Load()
	s := Stats{
		Calls: g.sum.Calls(), Rate: now.Config.Rate, Burst: now.Config.burst(), Observed: g.sumObserved.Load(),
		Mode: now.Mode, Overflowed: g.members.Stats().Overflowed,
	}
	for _, l := range g.members.All() {
		m := l.read()
		s.Tokens += m.Tokens
		s.Queued += m.Queued
	}
	return s
}

// blank reports whether a new limiter would be the same.
func (l *Limiter) blank() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unchanged() && l.bucket.full()
}

// harmless reports whether the next call would be let in, and nobody waits.
func (l *Limiter) harmless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unchanged() && l.bucket.tokens() >= 1
}

// unchanged reports whether nobody waits and the limiter is as the Config has it. The
// caller holds mu.
func (l *Limiter) unchanged() bool {
	l.enter()
	return l.queue.first() == nil && l.own() == own{}
}
