package timeout

import (
	"iter"
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config.
var fields = points.Fields[Config]{
	points.Duration("after", func(c *Config) *time.Duration { return &c.After }),
	points.Bool("observe", func(c *Config) *bool { return &c.Observe }),
}

// source is how a timeout is read and changed as one of the points of a process.
var source = points.Source[Timeout]{
	Read: func(t *Timeout) points.Point { return reading(t.Stats(), t.Config()) },
	Set: func(t *Timeout, values map[string]string) error {
		return fields.Set(t, t.live.Load().Mode, values)
	},
}

var groupSource = points.Source[Group]{
	Read: func(g *Group) points.Point {
		s := g.Stats()
		p := reading(s, g.Config())
		p.Keys = g.members.Len()
		p.Figures["overflowed"] = float64(s.Overflowed)
		for _, t := range g.members.All() {
			if t.own.Load() != 0 {
				p.Figures["members_with_own_after"]++
			}
		}
		return p
	},
	Members: func(g *Group) iter.Seq[points.Member] {
		return func(yield func(points.Member) bool) {
			for _, t := range g.members.All() {
				s := t.Stats()
				m := points.Member{Key: t.key, Calls: s.Calls, Figures: figures(s)}
				m.Figures["after_seconds"] = s.After.Seconds()
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
	return map[string]float64{"exceeded": float64(s.Exceeded), "observed": float64(s.Observed)}
}
