package breaker

import (
	"fmt"
	"sync"

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

	mu   sync.Mutex
	gone figures // of members that were forgotten
}

// NewGroup returns an empty group whose breakers are configured by cfg and bounded
// by keys. It panics when one of them is not usable.
func NewGroup(cfg Config, keys stability.Keys) *Group {
	g := &Group{settings: newSettings(cfg)}
	if err := keys.Validate(); err != nil {
		panic(fmt.Errorf("breaker: %w", err))
	}
	g.members = keyed.New(keys,
		func(key string) *Breaker { return newBreaker(g.settings, key) },
		(*Breaker).forgettable, g.forget)
	telemetry.Observe(g.meter, g, func(g *Group, o metric.Observer) { g.observe(o, g.figures()) })
	return g
}

// Get returns the breaker of the key. Ask for it at each call: a member that is
// kept elsewhere can be forgotten here, and another be made in its place.
func (g *Group) Get(key string) *Breaker {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// forgettable reports whether a new breaker would be the same.
func (b *Breaker) forgettable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stay.Load()
	return b.mode == Auto && s.state == Closed && !s.ramping.Load() && b.streak == 0 &&
		(b.Consecutive == 0 || s.inARow.Load() == 0) && s.window.Counts() == (window.Counts{})
}

// forget keeps the totals of a member that is dropped.
func (g *Group) forget(b *Breaker) {
	f := b.figures()
	f.inState = [len(states)]int64{}
	g.mu.Lock()
	g.gone.add(f)
	g.mu.Unlock()
}

func (g *Group) figures() figures {
	g.mu.Lock()
	f := g.gone
	g.mu.Unlock()
	for b := range g.members.All() {
		f.add(b.figures())
	}
	return f
}
