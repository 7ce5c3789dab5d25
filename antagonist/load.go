package antagonist

import (
	"fmt"
	"math"
	"time"
)

// A Load is the traffic of a run: one or more classes of callers, each with its
// own rate.
//
// The load is open: callers arrive when their class says, however slow the
// answers are, and latency counts from the instant at which a call was due to
// start. A system that stalls is therefore charged for everybody it kept
// waiting (no coordinated omission; Schroeder, Wierman and Harchol-Balter,
// "Open versus closed", NSDI 2006).
type Load []Class

// A Class is a group of callers that behave alike.
type Class struct {
	// Name tells the classes of one load apart, in requirements, results and
	// [Request.Class]. Default: "all" when the load has one class; required
	// when it has several.
	Name string

	// Rate is how many requests per second start, over time. Required, unless
	// At is given.
	Rate Rate

	// Arrivals says how the starts are spread around that rate. Default:
	// Poisson.
	Arrivals Arrivals

	// At replays recorded starts, counted from the beginning of the run, in
	// ascending order. It takes the place of Rate and Arrivals.
	At []time.Duration

	// Patience is how long a caller waits, counted from the intended start. An
	// answer after that is late; and the context of the request ends then, with
	// a deadline that the code under test can see. Default: 0, callers wait
	// until the run ends.
	Patience time.Duration

	// Stays keeps the context of a request open although its caller has lost
	// patience: the user has gone, and nothing tells the service. Default:
	// false.
	Stays bool
}

// Arrivals says how the starts of a class are spread around its rate.
type Arrivals uint8

const (
	// Poisson arrivals are those of many independent callers: gaps between them
	// are exponential.
	Poisson Arrivals = iota
	// Paced arrivals are evenly spaced, as from a load generator or a
	// scheduler.
	Paced
)

// String returns "Poisson" or "paced".
func (a Arrivals) String() string {
	switch a {
	case Poisson:
		return "Poisson"
	case Paced:
		return "paced"
	}
	return fmt.Sprintf("Arrivals(%d)", uint8(a))
}

// Times returns the load with every rate multiplied by factor: Times(2) is the
// doubled load of next Friday. Classes that replay recorded starts are replayed
// factor times as fast, over a shorter time.
func (l Load) Times(factor float64) Load {
	scaled := make(Load, len(l))
	for i, c := range l {
		c.Rate = c.Rate.Times(factor)
		if c.At != nil {
			at := make([]time.Duration, len(c.At))
			for j, t := range c.At {
				at[j] = time.Duration(float64(t) / factor)
			}
			c.At = at
		}
		scaled[i] = c
	}
	return scaled
}

// A Rate is a number of requests per second that may change over the run. The
// zero Rate is no rate at all, and refused.
type Rate struct {
	at       func(time.Duration) float64
	from, to time.Duration // of a spike, which counts as a disturbance to recover from
	err      error
}

// Constant is the same rate throughout.
func Constant(perSecond float64) Rate {
	return RateFunc(func(time.Duration) float64 { return perSecond })
}

// RateFunc is the rate that f returns for a time since the start of the run. It
// is called often, and must return the same rate for the same time.
func RateFunc(f func(at time.Duration) float64) Rate {
	if f == nil {
		return Rate{err: fmt.Errorf("RateFunc needs a function")}
	}
	return Rate{at: f}
}

// Steps runs through the given rates, each for the given time, and keeps the
// last: a staircase that finds the step on which a system gives way.
func Steps(each time.Duration, perSecond ...float64) Rate {
	if each <= 0 || len(perSecond) == 0 {
		return Rate{err: fmt.Errorf("Steps needs a positive time for each step and at least one rate")}
	}
	return RateFunc(func(at time.Duration) float64 {
		return perSecond[min(int(at/each), len(perSecond)-1)]
	})
}

// Ramp goes in a straight line from one rate to another over the given time,
// and keeps the latter.
func Ramp(from, to float64, over time.Duration) Rate {
	if over <= 0 {
		return Rate{err: fmt.Errorf("Ramp needs a positive time to rise over")}
	}
	return RateFunc(func(at time.Duration) float64 {
		share := min(float64(at)/float64(over), 1)
		return from + (to-from)*share
	})
}

// Spike is a base rate with a peak between two instants. The end of the spike
// is an end of trouble, from which [RecoversWithin] counts.
func Spike(base, peak float64, from, to time.Duration) Rate {
	if from < 0 || to <= from {
		return Rate{err: fmt.Errorf("Spike needs to end after it starts, and not to start before the run; got %v to %v", from, to)}
	}
	r := RateFunc(func(at time.Duration) float64 {
		if at >= from && at < to {
			return peak
		}
		return base
	})
	r.from, r.to = from, to
	return r
}

// Daily swings from low to high and back once in a day, as a cosine that starts
// at low. A day may be short: a curve squeezed into ten minutes asks the same
// question of the code in less time.
func Daily(low, high float64, day time.Duration) Rate {
	if day <= 0 {
		return Rate{err: fmt.Errorf("Daily needs a positive length of day")}
	}
	return RateFunc(func(at time.Duration) float64 {
		phase := 2 * math.Pi * float64(at%day) / float64(day)
		return low + (high-low)*(1-math.Cos(phase))/2
	})
}

// Trace replays rates that were recorded at fixed steps, such as the result of
// a range query against a metrics store, with straight lines between them;
// after the last it keeps the last.
func Trace(step time.Duration, perSecond ...float64) Rate {
	if step <= 0 || len(perSecond) == 0 {
		return Rate{err: fmt.Errorf("Trace needs a positive step and at least one rate")}
	}
	last := len(perSecond) - 1
	return RateFunc(func(at time.Duration) float64 {
		i := min(int(at/step), last)
		next := min(i+1, last)
		share := float64(at-time.Duration(i)*step) / float64(step)
		if i == last {
			share = 0
		}
		return perSecond[i] + (perSecond[next]-perSecond[i])*share
	})
}

// Times returns the rate multiplied by factor.
func (r Rate) Times(factor float64) Rate {
	if r.at == nil {
		return r
	}
	f := r.at
	r.at = func(at time.Duration) float64 { return f(at) * factor }
	return r
}

// Plus returns the sum of two rates.
func (r Rate) Plus(other Rate) Rate {
	if r.at == nil || r.err != nil {
		return r
	}
	if other.at == nil || other.err != nil {
		return other
	}
	f, g := r.at, other.at
	r.at = func(at time.Duration) float64 { return f(at) + g(at) }
	if other.to > 0 {
		if r.to == 0 || other.from < r.from {
			r.from = other.from
		}
		r.to = max(r.to, other.to)
	}
	return r
}

// PerSecond returns the rate at a time since the start of the run.
func (r Rate) PerSecond(at time.Duration) float64 {
	if r.at == nil {
		return 0
	}
	return r.at(at)
}
