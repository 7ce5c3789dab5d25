package ratelimit

import (
	"strconv"

	"github.com/crumplezone/stability"
)

// point is what a limiter, or a Group, is listed as among the points of a process.
func (s *settings) point(f Stats) stability.Point {
	p := stability.Point{
		Limits: map[string]string{
			"rate":  strconv.FormatFloat(f.Rate, 'g', -1, 64) + "/s",
			"burst": strconv.Itoa(f.Burst),
		},
		Calls:   f.Calls,
		Figures: map[string]float64{"tokens": f.Tokens, "queued": float64(f.Queued)},
	}
	if wait := s.live.Config().MaxWait; wait > 0 {
		p.Limits["max_wait"] = wait.String()
	}
	return p
}
