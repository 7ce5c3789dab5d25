package stabilityhttp

import (
	"errors"

	"github.com/crumplezone/stability"
)

// point is what a handler is listed as among the points of a process. Its rate limit
// and its bulkhead are points of their own.
func (h *Handler) point() stability.Point {
	s := h.Stats()
	p := stability.Point{
		State:  "ready",
		Limits: map[string]string{"min_timeout": h.cfg.MinTimeout.String()},
		Calls:  s.Calls,
		Figures: map[string]float64{
			"expired": float64(s.Expired),
			"limited": float64(s.Limited),
			"full":    float64(s.Full),
			"left":    float64(s.Left),
		},
	}
	switch err := h.Ready(); {
	case errors.Is(err, ErrDraining):
		p.State = "draining"
	case errors.Is(err, ErrSaturated):
		p.State = "saturated"
	}
	if h.cfg.MaxTimeout > 0 {
		p.Limits["max_timeout"] = h.cfg.MaxTimeout.String()
	}
	return p
}
