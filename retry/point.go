package retry

import (
	"math"
	"strconv"

	"github.com/crumplezone/stability"
)

// point is what a retry is listed as among the points of a process.
func (r *Retry) point() stability.Point {
	s, cfg := r.Stats(), r.live.Config()
	p := stability.Point{
		Limits: map[string]string{
			"attempts": strconv.Itoa(cfg.Attempts),
			"base":     cfg.Base.String(),
			"max":      cfg.Max.String(),

			"max_pushback": cfg.MaxPushback.String(),
			"budget":       "unlimited",
		},
		Calls: s.Calls,
		Figures: map[string]float64{
			"attempts":    float64(s.Attempts),
			"exhausted":   float64(s.Exhausted),
			"over_budget": float64(s.OverBudget),
			"out_of_time": float64(s.OutOfTime),
			"pushed_back": float64(s.PushedBack),
			"refused":     float64(s.Refused),
		},
	}
	if s.Budget.Limit < math.MaxInt64 {
		p.Limits["budget"] = strconv.FormatInt(s.Budget.Limit, 10)
		p.Figures["budget_spent"] = float64(s.Budget.Spent)
	}
	return p
}
