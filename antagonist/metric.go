package antagonist

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// A Metric is a figure of every second of a run, for [NeverMoreThan].
type Metric struct {
	name   string
	server string // that it is about
	whole  bool   // it exists only for all classes together
	// of returns the figure of the seconds from first to before last; ok is
	// false where there is none.
	of     func(r *Result, class string, first, last int) (value float64, ok bool)
	format func(float64) string
}

// InFlight is how many requests were in flight at once.
func InFlight() Metric {
	return Metric{
		name:   "requests in flight",
		format: formatNumber,
		of: func(r *Result, class string, first, last int) (float64, bool) {
			return highest(r.Class(class).Seconds[first:last], func(s Second) int { return s.InFlight })
		},
	}
}

// Goroutines is how many goroutines there were at once, above those before the
// run. It is measured, not modelled: tests that run in parallel change it.
func Goroutines() Metric {
	return Metric{
		name:   "goroutines",
		whole:  true,
		format: formatNumber,
		of: func(r *Result, _ string, first, last int) (float64, bool) {
			return highest(r.Seconds[first:last], func(s Second) int { return s.Goroutines })
		},
	}
}

// Attempts is how many calls reached a server in a second; over several, in the
// mean.
func Attempts(server string) Metric {
	return Metric{
		name:   "attempts per second at " + server,
		server: server,
		whole:  true,
		format: formatNumber,
		of: func(r *Result, _ string, first, last int) (float64, bool) {
			sum := 0
			for _, s := range r.Server(server).Seconds[first:last] {
				sum += s.Attempts
			}
			return float64(sum) / float64(last-first), true
		},
	}
}

// Waiting is how many calls waited at once in the queue of a server.
func Waiting(server string) Metric {
	return Metric{
		name:   "calls waiting at " + server,
		server: server,
		whole:  true,
		format: formatNumber,
		of: func(r *Result, _ string, first, last int) (float64, bool) {
			return highest(r.Server(server).Seconds[first:last], func(s ServerSecond) int { return s.Waiting })
		},
	}
}

// InService is how many calls a server worked on at once.
func InService(server string) Metric {
	return Metric{
		name:   "calls in service at " + server,
		server: server,
		whole:  true,
		format: formatNumber,
		of: func(r *Result, _ string, first, last int) (float64, bool) {
			return highest(r.Server(server).Seconds[first:last], func(s ServerSecond) int { return s.InService })
		},
	}
}

var goodput = Metric{
	name:   "goodput",
	format: formatShare,
	of: func(r *Result, class string, first, last int) (float64, bool) {
		c := r.Class(class).sum(first, last)
		return c.Goodput(), c.Offered > 0
	},
}

func latency(percentile float64) Metric {
	return Metric{
		name:   "p" + strconv.FormatFloat(percentile, 'f', -1, 64) + " latency",
		format: formatTime,
		of: func(r *Result, class string, first, last int) (float64, bool) {
			d := r.Class(class).percentile(percentile, first, last)
			return float64(d), d > 0
		},
	}
}

func amplification(server string) Metric {
	return Metric{
		name:   "amplification at " + server,
		server: server,
		whole:  true,
		format: func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "×" },
		of: func(r *Result, _ string, first, last int) (float64, bool) {
			attempts := 0
			for _, s := range r.Server(server).Seconds[first:last] {
				attempts += s.Attempts
			}
			if first == 0 && last == len(r.Seconds) {
				attempts = r.Server(server).Attempts // with those that came while the run drained
			}
			offered := r.sum(first, last).Offered
			return float64(attempts) / float64(max(offered, 1)), offered > 0
		},
	}
}

func highest[S any](seconds []S, of func(S) int) (float64, bool) {
	top := 0
	for _, s := range seconds {
		top = max(top, of(s))
	}
	return float64(top), true
}

func formatNumber(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64)
}

// formatShare rounds towards what is worse, so that a share just below a limit
// does not read like the limit.
func formatShare(x float64) string {
	return strconv.FormatFloat(math.Floor(x*1000)/10, 'f', -1, 64) + "%"
}

// formatTime writes nanoseconds as a time of three digits.
func formatTime(ns float64) string {
	d := time.Duration(ns)
	switch {
	case d >= 10*time.Second:
		return fmt.Sprint(d.Round(100 * time.Millisecond))
	case d >= time.Second:
		return fmt.Sprint(d.Round(10 * time.Millisecond))
	case d >= 100*time.Millisecond:
		return fmt.Sprint(d.Round(time.Millisecond))
	case d >= time.Millisecond:
		return fmt.Sprint(d.Round(10 * time.Microsecond))
	}
	return fmt.Sprint(d.Round(time.Microsecond))
}
