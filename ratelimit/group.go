package ratelimit

import (
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/keyed"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A Group is a limiter for each key: a host, a tenant, a client's address. Its
// members are bounded in number. One whose bucket is not full is never forgotten,
// nor is one for which a call waits or which SetRate or SetBurst has changed.
//
// A nil *Group has nil members. All methods may be called by any number of
// goroutines.
type Group struct {
	*settings
	members *keyed.Map[Limiter]
}

// NewGroup returns an empty group whose members are configured by cfg and bounded
// by keys. It panics with the error of their Validate when one of them is not
// usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	s := newSettings(cfg)
	if err := keys.Validate(); err != nil {
		panic(fmt.Errorf("ratelimit: %w", err))
	}
	s.sum = new(telemetry.Tally)
	g := &Group{settings: s}
	s.group = g
	g.members = keyed.New(keys,
		func(l *Limiter, key string) { l.init(s, key) },
		func(l *Limiter) string { return l.key },
		(*Limiter).forgettable)
	telemetry.Observe(s.meter, g, func(g *Group, o metric.Observer) { g.observe(o, g.Stats()) })
	telemetry.Register(s.meter, g, func(g *Group) stability.Point {
		p := g.point(g.Stats())
		p.Keys = g.members.Len()
		return p
	})
	return g
}

// Get returns the limiter of the key, or the one that keys past the bound share.
// Ask for it at each call: a member that is kept elsewhere can be forgotten here,
// and another be made in its place. Get does not block, and allocates only to make
// a member.
func (g *Group) Get(key string) *Limiter {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Stats returns the sum of the members' counts, those of forgotten members too, of
// the tokens that they hold and of the calls that wait, and the Rate and the Burst
// of the Config.
func (g *Group) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	s := Stats{Calls: g.sum.Calls(), Rate: g.cfg.Rate, Burst: g.cfg.burst()}
	for l := range g.members.All() {
		m := l.read()
		s.Tokens += m.Tokens
		s.Queued += m.Queued
	}
	return s
}

// forgettable reports whether a new limiter would be the same.
func (l *Limiter) forgettable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter()
	return l.queue.first() == nil && l.bucket.full() && l.bucket.rate == l.cfg.Rate && int(l.bucket.burst) == l.cfg.burst()
}
