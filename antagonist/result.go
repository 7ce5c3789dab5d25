package antagonist

import (
	"math"
	"slices"
	"time"
)

// Counts says what became of requests. Offered is the sum of the others.
type Counts struct {
	Offered int // arrived
	Good    int // answered without error, within the caller's patience
	Late    int // ended after the caller's patience, or not by the end of the run
	Failed  int // ended with an error
	Refused int // ended with an error that Scenario.Refused, or by default ErrRefused, tells apart
}

// Goodput is the share of the offered requests that were good; 1 when none was
// offered.
func (c Counts) Goodput() float64 {
	if c.Offered == 0 {
		return 1
	}
	return float64(c.Good) / float64(c.Offered)
}

func (c Counts) plus(o Counts) Counts {
	c.Offered += o.Offered
	c.Good += o.Good
	c.Late += o.Late
	c.Failed += o.Failed
	c.Refused += o.Refused
	return c
}

// A Second says what became of the requests that were due to start in one
// second of the run, whenever they ended.
type Second struct {
	Counts
	// P50, P99 and Max are latencies from the intended start, of good and late
	// requests. Failures and refusals are left out, lest failing fast look like
	// being fast. 0: none.
	P50, P99, Max time.Duration
	// InFlight is the most that were in flight at an instant of this second.
	InFlight int
	// Goroutines is the most that existed at an instant of this second, above
	// those before the run. It is measured, not modelled: other tests in the
	// process change it. Only in the series of all classes together.
	Goroutines int
}

// A Series is what became of the requests of a class, second by second and in
// sum.
type Series struct {
	Name    string   // of the class; "" for all together
	Seconds []Second // one for each second of the run
	Counts           // in sum
	// InFlight and Goroutines are the highest of all seconds.
	InFlight, Goroutines int

	latencies [][]uint32 // in microseconds, by second
}

// A ServerSecond says what happened in a server during one second of the run.
type ServerSecond struct {
	Attempts int // calls that reached it
	Answered int // ended well
	Failed   int // ended with an error, cut short, or lost in a restart
	Refused  int // turned away at the door or dropped from the queue
	Wasted   int // of Answered and Failed: those whose caller had gone
	// InService and Waiting are the most at an instant.
	InService, Waiting int
}

func (s ServerSecond) plus(o ServerSecond) ServerSecond {
	s.Attempts += o.Attempts
	s.Answered += o.Answered
	s.Failed += o.Failed
	s.Refused += o.Refused
	s.Wasted += o.Wasted
	s.InService = max(s.InService, o.InService)
	s.Waiting = max(s.Waiting, o.Waiting)
	return s
}

// A ServerSeries is what happened in a server, second by second and in sum. The
// sum includes what came after the last second, while the run drained.
type ServerSeries struct {
	Name    string         // of the server
	Seconds []ServerSecond // one for each second of the run
	ServerSecond
}

// A Result is the outcome of one run.
type Result struct {
	// Variant is the name of the variant, "" for [Run].
	Variant string
	// Scenario is what was run.
	Scenario Scenario
	// Series is what became of all requests.
	Series
	// Classes is the same by class, in the order of the load.
	Classes []Series
	// Servers is in the order of the scenario.
	Servers []ServerSeries

	// Disturbed tells whether there was a fault, or a spike of the load. Then
	// Recovered tells whether goodput came back after the last one, and
	// RecoveredAfter how long that took: up to the first second from which
	// goodput was at least 95 % of what it was before the first disturbance,
	// both over three seconds and over all the rest of the run.
	Disturbed      bool
	Recovered      bool
	RecoveredAfter time.Duration
	// Metastable tells that the disturbance was over and goodput did not come
	// back although there were at least ten seconds for it to do so: something
	// in the system kept it down (Bronson et al., "Metastable failures in
	// distributed systems", HotOS 2021).
	Metastable bool
}

// Class returns the series of the class of that name, and of all classes
// together for "". It returns nil if there is no such class.
func (r *Result) Class(name string) *Series {
	if name == "" {
		return &r.Series
	}
	for i := range r.Classes {
		if r.Classes[i].Name == name {
			return &r.Classes[i]
		}
	}
	return nil
}

// Server returns the series of the server of that name, and nil if there is
// none.
func (r *Result) Server(name string) *ServerSeries {
	for i := range r.Servers {
		if r.Servers[i].Name == name {
			return &r.Servers[i]
		}
	}
	return nil
}

// Amplification returns how many attempts reached a server for each request
// that was offered: 1 when every request makes one call, 3 when every call is
// made three times. It is 0 when nothing was offered or there is no such
// server.
func (r *Result) Amplification(server string) float64 {
	s := r.Server(server)
	if s == nil || r.Offered == 0 {
		return 0
	}
	return float64(s.Attempts) / float64(r.Offered)
}

// Percentile returns a percentile, from 0 to 100, of the latencies of good and
// late requests; 0 when there were none.
func (s *Series) Percentile(p float64) time.Duration {
	return s.percentile(p, 0, len(s.Seconds))
}

func (s *Series) percentile(p float64, from, to int) time.Duration {
	return quantile(sorted(s.latencies[from:to]), p)
}

// sum adds up the seconds from one to another.
func (s *Series) sum(from, to int) Counts {
	var c Counts
	for i := from; i < to; i++ {
		c = c.plus(s.Seconds[i].Counts)
	}
	return c
}

func newSeries(name string, seconds int) *Series {
	return &Series{Name: name, Seconds: make([]Second, seconds), latencies: make([][]uint32, seconds)}
}

// sorted returns the latencies in ascending order.
func sorted(latencies [][]uint32) []uint32 {
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return all
}

// quantile is the smallest latency that is not exceeded by a share of them.
func quantile(sorted []uint32, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return time.Duration(sorted[min(max(rank, 1), len(sorted))-1]) * time.Microsecond
}

// finish works out what follows from the counts.
func (s *Series) finish() {
	for i := range s.Seconds {
		second := &s.Seconds[i]
		h := sorted(s.latencies[i : i+1])
		second.P50, second.P99, second.Max = quantile(h, 50), quantile(h, 99), quantile(h, 100)
		s.Counts = s.Counts.plus(second.Counts)
		s.InFlight = max(s.InFlight, second.InFlight)
		s.Goroutines = max(s.Goroutines, second.Goroutines)
	}
}

// result gathers the logs of a world that has run.
func (w *World) result() *Result {
	r := &Result{Scenario: w.scenario}
	all := newSeries("all", len(w.log.peak))
	for _, s := range w.log.classes {
		for i, second := range s.Seconds {
			all.Seconds[i].Counts = all.Seconds[i].Counts.plus(second.Counts)
			all.latencies[i] = slices.Concat(all.latencies[i], s.latencies[i])
		}
		s.finish()
		r.Classes = append(r.Classes, *s)
	}
	for i := range all.Seconds {
		all.Seconds[i].InFlight = w.log.peak[i]
		all.Seconds[i].Goroutines = w.log.routines[i]
	}
	all.finish()
	r.Series = *all
	for _, server := range w.scenario.Servers {
		l := w.stations[server.Name].log
		s := ServerSeries{Name: server.Name, Seconds: l.seconds, ServerSecond: l.after}
		for _, second := range l.seconds {
			s.ServerSecond = s.plus(second)
		}
		r.Servers = append(r.Servers, s)
	}
	r.recovery()
	return r
}
