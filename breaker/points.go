package breaker

import (
	"fmt"
	"iter"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config.
var fields = points.Fields[Config]{
	points.Float("failure_ratio", "", func(c *Config) *float64 { return &c.FailureRatio }),
	points.Int("min_calls", "calls", func(c *Config) *int { return &c.MinCalls }),
	points.Duration("window", func(c *Config) *time.Duration { return &c.Window }),
	points.Int("consecutive", "calls", func(c *Config) *int { return &c.Consecutive }),
	points.Duration("slow_call", func(c *Config) *time.Duration { return &c.SlowCall }),
	points.Float("slow_ratio", "", func(c *Config) *float64 { return &c.SlowRatio }),
	points.Duration("open_for", func(c *Config) *time.Duration { return &c.OpenFor }),
	points.Duration("max_open_for", func(c *Config) *time.Duration { return &c.MaxOpenFor }),
	points.Int("probes", "calls", func(c *Config) *int { return &c.Probes }),
	points.Duration("probe_for", func(c *Config) *time.Duration { return &c.ProbeFor }),
	points.Duration("ramp_for", func(c *Config) *time.Duration { return &c.RampFor }),
	points.Bool("observe", func(c *Config) *bool { return &c.Observe }),
}

// source is how a breaker is read and changed as one of the points of a process.
var source = points.Source[Breaker]{
	Read: func(b *Breaker) points.Point {
		s := b.Stats()
		return points.Point{State: s.shown(), Settings: fields.Settings(b.Config(), s.Mode), Calls: s.Calls, Figures: s.figures()}
	},
	Set: func(b *Breaker, values map[string]string) error { return fields.Set(b, b.Stats().Mode, values) },
	Do: func(b *Breaker, key, action string) error {
		if key != "" {
			return fmt.Errorf("breaker: no member %q: it is not a Group", key)
		}
		return b.do(action)
	},
}

var groupSource = points.Source[Group]{
	Read: func(g *Group) points.Point {
		s := g.Stats()
		p := points.Point{
			State: Closed.String(), Keys: s.Closed + s.HalfOpen + s.Open,
			Settings: fields.Settings(g.Config(), s.Mode), Calls: s.Calls,
			Figures: map[string]float64{
				"closed": float64(s.Closed), "half_open": float64(s.HalfOpen), "open": float64(s.Open),
				"observed": float64(s.Observed), "overflowed": float64(s.Overflowed),
			},
		}
		if n := s.Open + s.HalfOpen; n > 0 {
			p.State = fmt.Sprintf("%d of %d not closed", n, p.Keys)
		}
		return p
	},
	Members: func(g *Group) iter.Seq[points.Member] {
		return func(yield func(points.Member) bool) {
			for _, b := range g.members.All() {
				s := b.Stats()
				if !yield(points.Member{Key: b.key, State: s.shown(), Calls: s.Calls, Figures: s.figures()}) {
					return
				}
			}
		}
	},
	Set: func(g *Group, values map[string]string) error { return fields.Set(g, g.live.Load().Mode, values) },
	Do: func(g *Group, key, action string) error {
		if key == "" {
			return g.do(action)
		}
		b, ok := g.Lookup(key)
		if !ok {
			return fmt.Errorf("breaker: no member %.64q", key)
		}
		return b.do(action)
	},
}

// shown is the state as an operator reads it.
func (s Stats) shown() string {
	switch s.Mode {
	case stability.ModeOpen:
		return "forced_open"
	case stability.ModeOff:
		return "forced_closed"
	}
	return s.State.String()
}

func (s Stats) figures() map[string]float64 {
	return map[string]float64{
		"opened": float64(s.Opened), "probing": float64(s.Probing), "observed": float64(s.Observed),
		"window_successes": float64(s.Window.Successes), "window_failures": float64(s.Window.Failures), "window_slow": float64(s.Window.Slow),
	}
}

func (b *Breaker) do(action string) error {
	switch action {
	case "force_open":
		b.ForceOpen()
	case "force_closed":
		b.ForceClosed()
	case "auto":
		b.Auto()
	case "reset":
		b.Reset()
	default:
		return errNoAction(action)
	}
	return nil
}

// do does the action to all members, those to come too.
func (g *Group) do(action string) error {
	switch action {
	case "force_open":
		return g.SetMode(stability.ModeOpen)
	case "force_closed":
		return g.SetMode(stability.ModeOff)
	case "auto":
		return g.SetMode(stability.ModeOn)
	case "reset":
		for _, b := range g.members.All() {
			b.Reset()
		}
		return nil
	default:
		return errNoAction(action)
	}
}

func errNoAction(action string) error {
	return fmt.Errorf("breaker: no action %.64q (force_open, force_closed, auto or reset)", action)
}
