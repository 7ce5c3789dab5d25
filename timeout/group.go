package timeout

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A Group is a timeout for each key, so that what is called under each can be told
// apart and be given a time of its own with SetAfter. Its members are bounded in
// number. One whose time SetAfter has changed is never forgotten.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *stability.Group[Timeout]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	check.Group(policy, cfg.Validate(), keys)
	s := newSettings(cfg)
	s.sum, s.sumExceeded = new(telemetry.Tally), new(stripe.Counter)
	g := &Group{settings: s}
	s.group = g
	g.members = stability.NewGroup(keys, stability.Members[Timeout]{
		Create: func(t *Timeout, key string, _ bool) { t.init(s, key) },
		Key:    func(t *Timeout) string { return t.key },
		Blank:  (*Timeout).blank,
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

// Get returns the timeout of the key, or, where there is no room for one, that which the key
// shares with others past the bound ([stability.Keys.Max]). Ask for it at each call: a
// member that is kept elsewhere can be forgotten here, and another be made in its place.
// Get does not block, and allocates only to make a member.
func (g *Group) Get(key string) *Timeout {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Lookup returns the key's own timeout, if the group has one. It makes none, and does not
// count as use of it.
func (g *Group) Lookup(key string) (*Timeout, bool) {
	if g == nil {
		return nil, false
	}
	return g.members.Lookup(key)
}

// All returns the keys and their timeouts, as [stability.Group.All] does.
func (g *Group) All() iter.Seq2[string, *Timeout] {
	if g == nil {
		return (*stability.Group[Timeout])(nil).All()
	}
	return g.members.All()
}

// Len returns how many keys have a timeout of their own.
func (g *Group) Len() int {
	if g == nil {
		return 0
	}
	return g.members.Len()
}

// By returns a gate that passes each call through the timeout of its key, which key returns given
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

// Reconfigure puts another configuration in force for all members, those to come too, and the
// calls that begin from now on. No member is dropped. One that SetAfter has given a time of its
// own keeps it. Name and MeterProvider stay as they were. An unusable cfg changes nothing, and
// Reconfigure returns the error of Validate.
func (g *Group) Reconfigure(cfg Config) error {
	if g == nil {
		return nil
	}
	return g.reconfigure(cfg)
}

// SetMode puts a mode in force for all members, as [Timeout.SetMode] does for one timeout.
func (g *Group) SetMode(mode stability.Mode) error {
	if g == nil {
		return nil
	}
	return g.setMode(mode)
}

// blank reports whether a new timeout would be the same.
func (t *Timeout) blank() bool { return t.own.Load() == 0 }
