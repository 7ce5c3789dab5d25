package timeout

import "github.com/crumplezone/stability"

func (t *Timeout) point() stability.Point { return t.Stats().point() }

// point is what a timeout, or a Group, is listed as among the points of a process.
func (s Stats) point() stability.Point {
	return stability.Point{
		Limits:  map[string]string{"after": s.After.String()},
		Calls:   s.Calls,
		Figures: map[string]float64{"exceeded": float64(s.Exceeded)},
	}
}
