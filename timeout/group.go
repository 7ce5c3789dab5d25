package timeout

import (
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/keyed"
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
	members *keyed.Map[Timeout]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	s := newSettings(cfg)
	if err := keys.Validate(); err != nil {
		panic(fmt.Errorf("timeout: %w", err))
	}
	s.sum, s.sumExceeded = new(telemetry.Tally), new(stripe.Counter)
	g := &Group{settings: s}
	s.group = g
	g.members = keyed.New(keys,
		func(t *Timeout, key string) { t.init(s, key) },
		func(t *Timeout) string { return t.key },
		(*Timeout).forgettable)
	telemetry.Observe(s.meter, g, func(g *Group, o metric.Observer) { g.observe(o, g.Stats()) })
	telemetry.Register(s.meter, g, func(g *Group) stability.Point {
		p := g.Stats().point()
		p.Keys = g.members.Len()
		return p
	})
	return g
}

// Get returns the timeout of the key, or the one that keys past the bound share.
// Ask for it at each call: a member that is kept elsewhere can be forgotten here,
// and another be made in its place. Get does not block, and allocates only to make
// a member.
func (g *Group) Get(key string) *Timeout {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Stats returns the sum of the members' counts, those of forgotten members too, and
// the After of the Config.
func (g *Group) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	return newStats(g.sum, g.sumExceeded, g.cfg.After)
}

// forgettable reports whether a new timeout would be the same.
func (t *Timeout) forgettable() bool { return t.after.Load() == int64(t.cfg.After) }
