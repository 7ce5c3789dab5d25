package stabilityhttp

import (
	"errors"

	"github.com/crumplezone/stability/points"
)

// point is what a handler is listed as among the points of a process. Its rate limit
// and its bulkhead are points of their own.
func (h *Handler) point() points.Point {
	s := h.Stats()
	p := points.Point{
		State:    "ready",
		Settings: []points.Setting{{Name: "min_timeout", Value: h.cfg.MinTimeout.String()}},
		Calls:    s.Calls,
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
		p.Settings = append(p.Settings, points.Setting{Name: "max_timeout", Value: h.cfg.MaxTimeout.String()})
	}
	return p
}
