package bulkhead

import (
	"iter"
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config.
var fields = points.Fields[Config]{
	points.Int("limit", "calls", func(c *Config) *int { return &c.Limit }),
	points.Int("queue", "calls", func(c *Config) *int { return &c.Queue }),
	points.Duration("max_wait", func(c *Config) *time.Duration { return &c.MaxWait }),
	points.Bool("observe", func(c *Config) *bool { return &c.Observe }),
}

// source is how a bulkhead is read and changed as one of the points of a process.
var source = points.Source[Bulkhead]{
	Read: func(b *Bulkhead) points.Point { return reading(b.Stats(), b.Config()) },
	Set: func(b *Bulkhead, values map[string]string) error {
		return fields.Set(b, b.live.Load().Mode, values)
	},
}

var groupSource = points.Source[Group]{
	Read: func(g *Group) points.Point {
		s := g.Stats()
		p := reading(s, g.Config())
		p.Keys = g.members.Len()
		p.Figures["overflowed"] = float64(s.Overflowed)
		for _, b := range g.members.All() {
			if b.own.Load() != 0 {
				p.Figures["members_with_own_limit"]++
			}
		}
		return p
	},
	Members: func(g *Group) iter.Seq[points.Member] {
		return func(yield func(points.Member) bool) {
			for _, b := range g.members.All() {
				s := b.Stats()
				m := points.Member{Key: b.full.Key, Calls: s.Calls, Figures: figures(s)}
				m.Figures["limit"] = float64(s.Limit)
				if !yield(m) {
					return
				}
			}
		}
	},
	Set: func(g *Group, values map[string]string) error {
		return fields.Set(g, g.live.Load().Mode, values)
	},
}

func reading(s Stats, cfg Config) points.Point {
	return points.Point{Settings: fields.Settings(cfg, s.Mode), Calls: s.Calls, Figures: figures(s)}
}

func figures(s Stats) map[string]float64 {
	return map[string]float64{"in_use": float64(s.InUse), "queued": float64(s.Queued), "observed": float64(s.Observed)}
}
