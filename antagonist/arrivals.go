package antagonist

import (
	"math"
	"math/rand/v2"
	"time"
)

// resolution is the step in which a rate is integrated; within it, the rate
// counts as constant.
const resolution = time.Millisecond

// arrivals generates the starts of one class. A start comes whenever the
// integral of the rate has grown by another gap: one when paced, exponential of
// mean one when Poisson. This is exact for rates that change over time.
type arrivals struct {
	class Class
	end   time.Duration
	gap   func() float64

	at      time.Duration // how far the rate has been integrated
	missing float64       // of the present gap
	replay  int           // index into class.At
}

func newArrivals(c Class, end time.Duration, random *rand.Rand) *arrivals {
	a := &arrivals{class: c, end: end}
	if c.Arrivals == Paced {
		a.gap = func() float64 { return 1 }
		a.missing = 0.5 // the first of evenly spaced starts comes after half a gap
	} else {
		a.gap = random.ExpFloat64
		a.missing = a.gap()
	}
	return a
}

// next returns the following start, and false after the last.
func (a *arrivals) next() (time.Duration, bool) {
	if a.class.At != nil {
		if a.replay == len(a.class.At) || a.class.At[a.replay] >= a.end {
			return 0, false
		}
		a.replay++
		return a.class.At[a.replay-1], true
	}
	for a.at < a.end {
		step := resolution - a.at%resolution
		rate := a.class.Rate.at(a.at - a.at%resolution)
		if grown := rate * step.Seconds(); grown < a.missing {
			a.missing -= grown
			a.at += step
			continue
		}
		a.at += min(step, time.Duration(math.Round(a.missing/rate*float64(time.Second))))
		if a.at >= a.end {
			break
		}
		a.missing = a.gap()
		return a.at, true
	}
	return 0, false
}
