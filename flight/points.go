package flight

import (
	"time"

	"github.com/crumplezone/stability/points"
)

// fields are the settings of a Config.
var fields = points.Fields[Config]{
	points.Duration("stale_if_error", func(c *Config) *time.Duration { return &c.StaleIfError }),
	points.Int("max_stale", "values", func(c *Config) *int { return &c.MaxStale }),
}

// source is how flights are read and changed as one of the points of a process.
func source[T any]() points.Source[Flights[T]] {
	return points.Source[Flights[T]]{
		Read: func(f *Flights[T]) points.Point {
			s := f.Stats()
			return points.Point{
				Settings: fields.Settings(f.Config(), s.Mode),
				Calls:    s.Calls,
				Figures: map[string]float64{
					"running": float64(s.Running), "shared": float64(s.Shared), "stale": float64(s.Stale), "kept": float64(s.Kept),
				},
			}
		},
		Set: func(f *Flights[T], values map[string]string) error { return fields.Set(f, f.live.Load().Mode, values) },
	}
}
