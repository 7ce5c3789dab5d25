package antagonist

import (
	"math"
	"testing"
	"time"
)

// mean returns the mean latency of all requests that were answered, in seconds.
func mean(r *Result) float64 {
	sum, n := 0.0, 0
	for _, second := range r.latencies {
		for _, l := range second {
			sum += float64(l) / 1e6
			n++
		}
	}
	return sum / float64(n)
}

// queueing runs calls at a rate against a server, long enough for means to
// settle.
func queueing(t *testing.T, rate float64, s Server) *Result {
	t.Helper()
	s.Name = "server"
	return Run(t, Scenario{
		For:     theoryFor,
		Seed:    11,
		Load:    Load{{Rate: Constant(rate)}},
		Servers: []Server{s},
		Client:  calls("server"),
	})
}

// The model agrees with what queueing theory says of systems that it can solve
// (Kleinrock, Queueing Systems, vol. 1, 1975).
func TestQueueingTheory(t *testing.T) {
	const rate, service = 80.0, 0.010 // utilization 0.8 of one worker

	t.Run("M/M/1", func(t *testing.T) {
		r := queueing(t, rate, Server{Workers: 1, Service: Exponential(10 * ms)})
		left := 1/service - rate
		near(t, "mean time in system", mean(r), 1/left, 0.05*loose)
		near(t, "p99 of time in system", r.Percentile(P99).Seconds(), math.Log(100)/left, 0.06*loose)
	})
	t.Run("M/D/1", func(t *testing.T) {
		r := queueing(t, rate, Server{Workers: 1, Service: Fixed(10 * ms)})
		load := rate * service
		near(t, "mean time in system", mean(r), service+load*service/(2*(1-load)), 0.05*loose)
	})
	t.Run("M/G/1", func(t *testing.T) {
		// Pollaczek and Khinchine: waiting depends on the second moment of the
		// service time.
		median, p99 := 4*ms, 30*ms
		sigma := math.Log(float64(p99)/float64(median)) / 2.3263478740408408
		first := median.Seconds() * math.Exp(sigma*sigma/2)
		second := math.Pow(median.Seconds(), 2) * math.Exp(2*sigma*sigma)
		r := queueing(t, rate, Server{Workers: 1, Service: LogNormal(median, p99)})
		near(t, "mean time in system", mean(r), first+rate*second/(2*(1-rate*first)), 0.08*loose)
	})
	t.Run("M/M/c", func(t *testing.T) {
		// Erlang C for four workers.
		const workers = 4
		offered := rate * 0.040
		sum, term := 0.0, 1.0
		for k := range workers {
			sum += term
			term *= offered / float64(k+1)
		}
		full := term / (1 - offered/workers)
		wait := full / (sum + full) / (workers/0.040 - rate)
		r := queueing(t, rate, Server{Workers: workers, Service: Exponential(40 * ms)})
		near(t, "mean time in system", mean(r), 0.040+wait, 0.05*loose)
	})
	t.Run("M/M/1/K", func(t *testing.T) {
		// With room for K in all, a share of the calls is lost.
		const k, load = 5, 1.2
		r := queueing(t, load/service, Server{Workers: 1, Service: Exponential(10 * ms), Queue: Queue{Max: k - 1}})
		lost := (1 - load) * math.Pow(load, k) / (1 - math.Pow(load, k+1))
		near(t, "share lost", float64(r.Refused)/float64(r.Offered), lost, 0.03*loose)
	})
	t.Run("M/G/∞", func(t *testing.T) {
		r := queueing(t, rate, Server{Service: LogNormal(20*ms, 200*ms)})
		near(t, "mean time in system", mean(r), LogNormal(20*ms, 200*ms).Mean().Seconds(), 0.03*loose)
	})
	t.Run("order does not change the mean", func(t *testing.T) {
		fifo := queueing(t, rate, Server{Workers: 1, Service: Exponential(10 * ms)})
		lifo := queueing(t, rate, Server{Workers: 1, Service: Exponential(10 * ms), Queue: Queue{Order: LIFO}})
		near(t, "mean of LIFO", mean(lifo), mean(fifo), 0.02*loose)
		if lifo.Percentile(P999) <= 2*fifo.Percentile(P999) {
			t.Errorf("the tail of LIFO is %v, not much longer than FIFO's %v", lifo.Percentile(P999), fifo.Percentile(P999))
		}
	})
}

func TestDistributions(t *testing.T) {
	sample := func(d Distribution) (mean float64, values []float64) {
		random := newDice().of(1)
		for range 200_000 {
			v := d.sample(random).Seconds()
			values = append(values, v)
			mean += v / 200_000
		}
		return mean, values
	}
	below := func(values []float64, limit time.Duration) float64 {
		n := 0
		for _, v := range values {
			if v <= limit.Seconds() {
				n++
			}
		}
		return float64(n) / float64(len(values))
	}
	for name, d := range map[string]Distribution{
		"fixed":       Fixed(5 * ms),
		"exponential": Exponential(5 * ms),
		"log-normal":  LogNormal(5*ms, 50*ms),
		"stragglers":  Exponential(5*ms).Stragglers(0.01, 100),
		"empirical":   Empirical(1*ms, 2*ms, 9*ms),
		"none":        {},
	} {
		got, _ := sample(d)
		near(t, name+": mean", got, d.Mean().Seconds(), 0.03)
	}
	_, values := sample(LogNormal(5*ms, 50*ms))
	near(t, "log-normal: share below the median", below(values, 5*ms), 0.5, 0.02)
	near(t, "log-normal: share above the 99th percentile", 1-below(values, 50*ms), 0.01, 0.1)
	_, values = sample(Fixed(5*ms).Stragglers(0.02, 10))
	near(t, "stragglers: their share", 1-below(values, 5*ms), 0.02, 0.1)

	f := USL(0.1, 0.01)
	near(t, "USL alone", f(1), 1, 1e-9)
	near(t, "USL of ten", f(10), 1+0.9+0.9, 1e-9)
}
