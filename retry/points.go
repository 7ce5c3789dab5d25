package retry

import (
	"math"
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config.
var fields = points.Fields[Config]{
	points.Int("attempts", "calls", func(c *Config) *int { return &c.Attempts }),
	points.Duration("base", func(c *Config) *time.Duration { return &c.Base }),
	points.Duration("max", func(c *Config) *time.Duration { return &c.Max }),
	points.Duration("max_pushback", func(c *Config) *time.Duration { return &c.MaxPushback }),
}

// source is how a retry is read and changed as one of the points of a process.
var source = points.Source[Retry]{
	Read: func(r *Retry) points.Point {
		s := r.Stats()
		p := points.Point{
			Settings: fields.Settings(r.Config(), s.Mode),
			Calls:    s.Calls,
			Figures: map[string]float64{
				"attempts":    float64(s.Attempts),
				"exhausted":   float64(s.Exhausted),
				"over_budget": float64(s.OverBudget),
				"out_of_time": float64(s.OutOfTime),
				"pushed_back": float64(s.PushedBack),
				"refused":     float64(s.Refused),
			},
		}
		if s.Budget.Limit < math.MaxInt64 { // else it is unlimited
			p.Figures["budget_limit"], p.Figures["budget_spent"] = float64(s.Budget.Limit), float64(s.Budget.Spent)
		}
		return p
	},
	Set: func(r *Retry, values map[string]string) error { return fields.Set(r, r.live.Load().Mode, values) },
}
