package ratelimit

import (
	"iter"
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config. A burst of 0 is a tenth of a second's worth of the rate.
var fields = points.Fields[Config]{
	points.Float("rate", "calls per second", func(c *Config) *float64 { return &c.Rate }),
	points.Int("burst", "calls", func(c *Config) *int { return &c.Burst }),
	points.Duration("max_wait", func(c *Config) *time.Duration { return &c.MaxWait }),
	points.Bool("observe", func(c *Config) *bool { return &c.Observe }),
}

// source is how a limiter is read and changed as one of the points of a process.
var source = points.Source[Limiter]{
	Read: func(l *Limiter) points.Point { return reading(l.Stats(), l.Config()) },
	Set: func(l *Limiter, values map[string]string) error {
		return fields.Set(l, l.live.Load().Mode, values)
	},
}

var groupSource = points.Source[Group]{
	Read: func(g *Group) points.Point {
		s := g.Stats()
		p := reading(s, g.Config())
		p.Keys = g.members.Len()
		p.Figures["overflowed"] = float64(s.Overflowed)
		for _, l := range g.members.All() {
			l.mu.Lock()
			own := l.own()
			l.mu.Unlock()
			if own.rate {
				p.Figures["members_with_own_rate"]++
			}
			if own.burst {
				p.Figures["members_with_own_burst"]++
			}
		}
		return p
	},
	Members: func(g *Group) iter.Seq[points.Member] {
		return func(yield func(points.Member) bool) {
			for _, l := range g.members.All() {
				s := l.Stats()
				m := points.Member{Key: l.key, Calls: s.Calls, Figures: figures(s)}
				m.Figures["rate"] = s.Rate
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
	return map[string]float64{
		"burst": float64(s.Burst), "tokens": s.Tokens, "queued": float64(s.Queued), "observed": float64(s.Observed),
	}
}
