package bulkhead

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A Group is a bulkhead for each key: a host, a shard, a tenant. Its members are
// bounded in number. One that has a permit in use or a call waiting is never
// forgotten, nor is one whose limit SetLimit has changed.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *stability.Group[Bulkhead]
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
	g.members = stability.NewGroup(keys, stability.Members[Bulkhead]{
		Create: func(b *Bulkhead, key string, _ bool) { b.init(s, key) },
		Key:    func(b *Bulkhead) string { return b.full.Key },
		Blank:  (*Bulkhead).blank,
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

// Get returns the bulkhead of the key, or, where there is no room for one, that which the key
// shares with others past the bound ([stability.Keys.Max]). Ask for it at each call: a
// member that is kept elsewhere can be forgotten here, and another be made in its place.
// Get does not block, and allocates only to make a member.
func (g *Group) Get(key string) *Bulkhead {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Lookup returns the key's own bulkhead, if the group has one. It makes none, and does not
// count as use of it.
func (g *Group) Lookup(key string) (*Bulkhead, bool) {
	if g == nil {
		return nil, false
	}
	return g.members.Lookup(key)
}

// All returns the keys and their bulkheads, as [stability.Group.All] does.
func (g *Group) All() iter.Seq2[string, *Bulkhead] {
	if g == nil {
		return (*stability.Group[Bulkhead])(nil).All()
	}
	return g.members.All()
}

// Len returns how many keys have a bulkhead of their own.
func (g *Group) Len() int {
	if g == nil {
		return 0
	}
	return g.members.Len()
}

// By returns a gate that passes each call through the bulkhead of its key, which key returns given
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
// [Bulkhead.Reconfigure] does for one bulkhead. No member is dropped. A limit that SetLimit has
// given a member stays. Reconfigure takes time by the number of members.
func (g *Group) Reconfigure(cfg Config) error {
	if g == nil {
		return nil
	}
	return g.reconfigure(cfg, g.apply)
}

// SetMode puts a mode in force for all members, as [Bulkhead.SetMode] does for one bulkhead.
func (g *Group) SetMode(mode stability.Mode) error {
	if g == nil {
		return nil
	}
	return g.setMode(mode, g.apply)
}

// apply lets all members follow the configuration in force. One that is made in the meantime
// begins with it.
func (g *Group) apply() {
	for _, b := range g.members.All() {
		b.apply()
	}
}

// Stats returns the sum of the members' figures, of their limits too: what is in use
// is to be held against them. The counts are those of forgotten members too.
func (g *Group) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	s := Stats{
		Calls: g.sum.Calls(), Observed: g.sumObserved.Load(), Mode: g.live.Load().Mode, Overflowed: g.members.Stats().Overflowed,
	}
	for _, b := range g.members.All() {
		m := b.now()
		s.Limit += m.Limit
		s.InUse += m.InUse
		s.Queued += m.Queued
		s.QueueLimit += m.QueueLimit
	}
	return s
}

// blank reports whether a new bulkhead would be the same.
func (b *Bulkhead) blank() bool {
	s := b.now()
	return s.InUse == 0 && s.Queued == 0 && b.own.Load() == 0
}
