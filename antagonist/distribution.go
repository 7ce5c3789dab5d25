package antagonist

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// A Distribution says how long work takes. The zero Distribution takes no time.
type Distribution struct {
	draw func(*rand.Rand) time.Duration
	mean time.Duration
	err  error
}

// Fixed always takes the same time.
func Fixed(d time.Duration) Distribution {
	if d < 0 {
		return Distribution{err: fmt.Errorf("Fixed needs a time that is not negative, got %v", d)}
	}
	return Distribution{draw: func(*rand.Rand) time.Duration { return d }, mean: d}
}

// Exponential has the given mean and a coefficient of variation of one: the
// textbook server, for which queueing theory has closed forms.
func Exponential(mean time.Duration) Distribution {
	if mean <= 0 {
		return Distribution{err: fmt.Errorf("Exponential needs a positive mean, got %v", mean)}
	}
	return Distribution{
		draw: func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) },
		mean: mean,
	}
}

// LogNormal has the given median and 99th percentile, which are the two numbers
// that production dashboards show. Latencies of real services are nearer to it
// than to an exponential.
func LogNormal(median, p99 time.Duration) Distribution {
	if median <= 0 || p99 <= median {
		return Distribution{err: fmt.Errorf("LogNormal needs a positive median and a 99th percentile above it, got %v and %v", median, p99)}
	}
	const z99 = 2.3263478740408408 // the 99th percentile of the standard normal distribution
	mu := math.Log(float64(median))
	sigma := (math.Log(float64(p99)) - mu) / z99
	return Distribution{
		draw: func(r *rand.Rand) time.Duration { return toDuration(math.Exp(mu + sigma*r.NormFloat64())) },
		mean: toDuration(math.Exp(mu + sigma*sigma/2)),
	}
}

// Empirical draws one of the given times with equal chance: a sample of
// measured ones.
func Empirical(times ...time.Duration) Distribution {
	if len(times) == 0 {
		return Distribution{err: fmt.Errorf("Empirical needs at least one time")}
	}
	var sum float64
	for _, d := range times {
		if d < 0 {
			return Distribution{err: fmt.Errorf("Empirical needs times that are not negative, got %v", d)}
		}
		sum += float64(d)
	}
	return Distribution{
		draw: func(r *rand.Rand) time.Duration { return times[r.IntN(len(times))] },
		mean: toDuration(sum / float64(len(times))),
	}
}

// Stragglers makes a share of the draws, between 0 and 1, longer by a factor:
// the calls that meet a collection, a full disk queue or a lost packet (Dean
// and Barroso, "The Tail at Scale", 2013).
func (d Distribution) Stragglers(share, factor float64) Distribution {
	if d.err != nil {
		return d
	}
	if !(share >= 0 && share <= 1) || !(factor >= 1) || math.IsInf(factor, 0) {
		return Distribution{err: fmt.Errorf("Stragglers needs a share from 0 to 1 and a finite factor of at least 1, got %v and %v", share, factor)}
	}
	if d.draw == nil {
		return d
	}
	draw := d.draw
	d.draw = func(r *rand.Rand) time.Duration {
		t := draw(r)
		if r.Float64() < share {
			t = toDuration(float64(t) * factor)
		}
		return t
	}
	d.mean = toDuration(float64(d.mean) * (1 + share*(factor-1)))
	return d
}

// Mean returns the mean time. The rate that a server can sustain is its workers
// divided by it.
func (d Distribution) Mean() time.Duration { return d.mean }

func (d Distribution) sample(r *rand.Rand) time.Duration {
	if d.draw == nil {
		return 0
	}
	return d.draw(r)
}

// maxTime bounds what a distribution or a factor can yield, so that sums of
// instants stay far from overflow.
const maxTime = 1000 * time.Hour

func toDuration(ns float64) time.Duration {
	if !(ns < float64(maxTime)) {
		return maxTime
	}
	return time.Duration(ns)
}

// USL returns a [Server.Slowdown] after Gunther's Universal Scalability Law:
// with n calls in service at once, each takes 1 + contention·(n-1) +
// coherence·n·(n-1) times as long. Contention stands for what is done one at a
// time (locks), coherence for what everyone must agree on with everyone
// (caches, replicas); with coherence above zero a server gives less, in total,
// beyond a certain concurrency.
func USL(contention, coherence float64) func(inService int) float64 {
	return func(n int) float64 {
		k := float64(n)
		return 1 + contention*(k-1) + coherence*k*(k-1)
	}
}
