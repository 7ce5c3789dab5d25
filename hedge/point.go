package hedge

import (
	"math"
	"strconv"

	"github.com/crumplezone/stability"
)

// point is what a hedge is listed as among the points of a process.
func (h *Hedge) point() stability.Point {
	s, cfg := h.Stats(), h.live.Config()
	p := stability.Point{
		Limits: map[string]string{"max": strconv.Itoa(cfg.Max), "budget": "unlimited"},
		Calls:  s.Calls,
		Figures: map[string]float64{
			"hedges":        float64(s.Hedges),
			"won":           float64(s.Won),
			"suppressed":    float64(s.Suppressed),
			"delay_seconds": s.Delay.Seconds(),
		},
	}
	if cfg.Delay > 0 {
		p.Limits["delay"] = cfg.Delay.String()
	} else {
		p.Limits["percentile"] = strconv.FormatFloat(cfg.Percentile, 'g', -1, 64)
	}
	if s.Budget.Limit < math.MaxInt64 {
		p.Limits["budget"] = strconv.FormatInt(s.Budget.Limit, 10)
		p.Figures["budget_spent"] = float64(s.Budget.Spent)
	}
	return p
}
