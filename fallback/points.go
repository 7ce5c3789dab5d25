package fallback

import (
	"fmt"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/points"
)

// source is how a fallback is read and changed as one of the points of a process.
var source = points.Source[Fallback]{
	Read: func(f *Fallback) points.Point {
		s := f.Stats()
		return points.Point{
			Settings: []points.Setting{{Name: "mode", Value: s.Mode.String()}},
			Calls:    s.Calls,
			Figures:  map[string]float64{"degraded": float64(s.Degraded), "unanswered": float64(s.Unanswered)},
		}
	},
	Set: func(f *Fallback, values map[string]string) error {
		for name := range values {
			if name != "mode" {
				return fmt.Errorf("fallback: no setting %.64q (mode)", name)
			}
		}
		var mode stability.Mode
		if err := mode.UnmarshalText([]byte(values["mode"])); err != nil {
			return err
		}
		return f.SetMode(mode)
	},
}
