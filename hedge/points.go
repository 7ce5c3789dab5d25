package hedge

import (
	"math"
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config. A delay of 0s is the percentile's.
var fields = points.Fields[Config]{
	points.Int("max", "calls", func(c *Config) *int { return &c.Max }),
	points.Duration("delay", func(c *Config) *time.Duration { return &c.Delay }),
	points.Float("percentile", "", func(c *Config) *float64 { return &c.Percentile }),
	points.Duration("min_delay", func(c *Config) *time.Duration { return &c.MinDelay }),
	points.Duration("max_delay", func(c *Config) *time.Duration { return &c.MaxDelay }),
}

// source is how a hedge is read and changed as one of the points of a process.
var source = points.Source[Hedge]{
	Read: func(h *Hedge) points.Point {
		s := h.Stats()
		p := points.Point{
			Settings: fields.Settings(h.Config(), s.Mode),
			Calls:    s.Calls,
			Figures: map[string]float64{
				"hedges":        float64(s.Hedges),
				"won":           float64(s.Won),
				"suppressed":    float64(s.Suppressed),
				"delay_seconds": s.Delay.Seconds(),
			},
		}
		if s.Budget.Limit < math.MaxInt64 { // else it is unlimited
			p.Figures["budget_limit"], p.Figures["budget_spent"] = float64(s.Budget.Limit), float64(s.Budget.Spent)
		}
		return p
	},
	Set: func(h *Hedge, values map[string]string) error { return fields.Set(h, h.live.Load().Mode, values) },
}
