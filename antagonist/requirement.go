package antagonist

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Requirement is what must hold in a run. Most are judged second by second,
// for all classes together, over the whole run; the methods narrow that down.
type Requirement struct {
	metric   Metric
	limit    float64
	atMost   bool
	class    string
	from, to time.Duration // to 0: the end of the run
	overall  bool

	name  string // of those that judge a result as a whole
	judge func(*Result, string) error
	err   error
}

// Percentiles for [Latency].
const (
	P50  = 50.0
	P90  = 90.0
	P95  = 95.0
	P99  = 99.0
	P999 = 99.9
)

// Goodput requires that at least this share of the requests, from 0 to 1, is
// answered without error and in time.
func Goodput(atLeast float64) Requirement {
	r := Requirement{metric: goodput, limit: atLeast}
	if !(atLeast >= 0 && atLeast <= 1) {
		r.err = fmt.Errorf("Goodput needs a share from 0 to 1")
	}
	return r
}

// Latency requires that a percentile of the latencies, such as [P99], is at
// most this. Latencies count from the intended start, for requests that were
// answered and those that ran out of patience.
func Latency(percentile float64, atMost time.Duration) Requirement {
	r := Requirement{metric: latency(percentile), limit: float64(atMost), atMost: true}
	if !(percentile >= 1 && percentile <= 100) { // below 1 it is a share by mistake
		r.err = fmt.Errorf("Latency needs a percentile from 1 to 100, such as antagonist.P99")
	}
	return r
}

// Amplification requires that at most this many attempts reach a server for
// each request that is offered.
func Amplification(server string, atMost float64) Requirement {
	return Requirement{metric: amplification(server), limit: atMost, atMost: true}
}

// NeverMoreThan requires that a metric never exceeds a limit:
// NeverMoreThan(500, InFlight()).
func NeverMoreThan(limit float64, m Metric) Requirement {
	return Requirement{metric: m, limit: limit, atMost: true}
}

// RecoversWithin requires that goodput is back within this time after the last
// fault, or spike of the load, has ended; see [Result.RecoveredAfter].
func RecoversWithin(d time.Duration) Requirement {
	r := Requirement{metric: goodput, name: fmt.Sprintf("RecoversWithin %v", d)}
	r.judge = func(result *Result, class string) error {
		from, to, _ := result.Scenario.disturbance()
		after, ok := result.Class(class).recovery(from, to)
		switch {
		case !ok:
			return fmt.Errorf("goodput was not back %v after the trouble ended at %v, when the run ended", result.Scenario.For-to, to)
		case after > d:
			return fmt.Errorf("goodput was back only %v after the trouble ended at %v, in second %d", after, to, int((to+after)/time.Second))
		}
		return nil
	}
	if d < 0 {
		r.err = fmt.Errorf("RecoversWithin needs a time that is not negative")
	}
	return r
}

// That requires whatever check says of the result; its error says why not.
func That(name string, check func(*Result) error) Requirement {
	r := Requirement{metric: goodput, name: name}
	if check == nil {
		r.err = fmt.Errorf("That needs a function")
		return r
	}
	r.judge = func(result *Result, _ string) error { return check(result) }
	return r
}

// Of narrows a requirement down to a class of the load.
func (r Requirement) Of(class string) Requirement {
	r.class = class
	return r
}

// Between narrows a requirement down to the seconds that lie between two
// instants of the run.
func (r Requirement) Between(from, to time.Duration) Requirement {
	r.from, r.to = from, to
	if first, last := wholeSeconds(from, to); from < 0 || last <= first {
		r.err = fmt.Errorf("Between needs at least a whole second, got %v to %v", from, to)
	}
	return r
}

// wholeSeconds are the seconds that lie between two instants.
func wholeSeconds(from, to time.Duration) (first, last int) {
	return int((from + time.Second - 1) / time.Second), int(to / time.Second)
}

// Overall judges the whole time at once, and not each second by itself.
func (r Requirement) Overall() Requirement {
	r.overall = true
	return r
}

// String returns the requirement in words, such as "goodput at least 99% of
// checkout".
func (r Requirement) String() string {
	text := r.name
	switch {
	case r.judge != nil:
	case r.metric.format == nil:
		text = "the zero Requirement, which requires nothing"
	default:
		bound := "at least"
		if r.atMost {
			bound = "at most"
		}
		text = fmt.Sprintf("%s %s %s", r.metric.name, bound, r.metric.format(r.limit))
	}
	if r.class != "" {
		text += " of " + r.class
	}
	if r.to != 0 {
		text += fmt.Sprintf(" between %v and %v", r.from, r.to)
	}
	if r.overall {
		text += " overall"
	}
	return text
}

func (r Requirement) validate(s Scenario) error {
	switch {
	case r.err != nil:
		return r.err
	case r.metric.of == nil:
		return fmt.Errorf("is empty; use Goodput, Latency, RecoversWithin and their like")
	case math.IsNaN(r.limit) || r.limit < 0:
		return fmt.Errorf("needs a limit that is a number and not negative")
	case r.to > s.For:
		return fmt.Errorf("must lie within the run of %v", s.For)
	case r.class != "" && !slices.ContainsFunc(s.withDefaults().Load, func(c Class) bool { return c.Name == r.class }):
		return fmt.Errorf("the load has no class %q", r.class)
	case r.metric.server != "" && !slices.ContainsFunc(s.Servers, func(o Server) bool { return o.Name == r.metric.server }):
		return fmt.Errorf("there is no server %q; the scenario has %s", r.metric.server, s.serverNames())
	case r.class != "" && r.metric.whole && r.judge == nil:
		return fmt.Errorf("counts all classes together; leave out Of")
	case r.judge != nil && (r.to != 0 || r.overall):
		return fmt.Errorf("judges the run as a whole; leave out Between and Overall")
	}
	if strings.HasPrefix(r.name, "RecoversWithin") {
		if _, to, disturbed := s.disturbance(); !disturbed {
			return fmt.Errorf("there is nothing to recover from: neither a fault nor a spike")
		} else if to+time.Second > s.For {
			return fmt.Errorf("the trouble ends at %v and the run at %v: let it run on, to see whether it recovers", to, s.For)
		}
	}
	return nil
}

// A Violation is a requirement that did not hold.
type Violation struct {
	Requirement Requirement // the one that did not hold
	// Seconds are those in which it did not hold; empty for one that is judged
	// as a whole.
	Seconds []int
	message string
	chart   string
}

// Error says in which seconds what did not hold, with a chart of the run.
func (v *Violation) Error() string { return v.message + "\n" + v.chart }

// Summary is the error's first line, without the chart.
func (v *Violation) Summary() string { return v.message }

// Check judges a result, and returns a [*Violation] for each requirement that
// does not hold. [Run] and [Compare] do so with those of the scenario. A
// requirement that names what the scenario does not have gives another error.
func (r *Result) Check(requirements ...Requirement) []error {
	var broken []error
	for _, q := range requirements {
		if err := q.validate(r.Scenario); err != nil {
			broken = append(broken, fmt.Errorf("%v: %w", q, err))
		} else if v := q.check(r); v != nil {
			broken = append(broken, v)
		}
	}
	return broken
}

func (r Requirement) check(result *Result) *Violation {
	v := &Violation{Requirement: r}
	if r.judge != nil {
		err := r.judge(result, r.class)
		if err == nil {
			return nil
		}
		v.message = fmt.Sprintf("%v: %v", r, err)
		v.chart = chart(result, r, nil)
		return v
	}
	first, last := 0, len(result.Seconds)
	if r.to != 0 {
		first, last = wholeSeconds(r.from, r.to)
	}
	if r.overall {
		got, ok := r.metric.of(result, r.class, first, last)
		if !ok || r.holds(got) {
			return nil
		}
		v.message = fmt.Sprintf("%v: it was %s", r, r.metric.format(got))
		v.chart = chart(result, r, nil)
		return v
	}
	for i := first; i < last; i++ {
		if got, ok := r.metric.of(result, r.class, i, i+1); ok && !r.holds(got) {
			v.Seconds = append(v.Seconds, i)
		}
	}
	if len(v.Seconds) == 0 {
		return nil
	}
	at := v.Seconds[0]
	got, _ := r.metric.of(result, r.class, at, at+1)
	v.message = fmt.Sprintf("%v: second %d had %s", r, at, r.metric.format(got))
	if n := len(v.Seconds); n > 1 {
		v.message += fmt.Sprintf("; broken in %d of %d seconds: %s", n, last-first, ranges(v.Seconds))
	}
	v.chart = chart(result, r, v.Seconds)
	return v
}

func (r Requirement) holds(got float64) bool {
	if r.atMost {
		return got <= r.limit
	}
	return got >= r.limit
}

// ranges writes ascending numbers as "3, 7-12"; beyond the sixth range it says
// how far they go.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if len(parts) == 6 {
			return strings.Join(parts, ", ") + fmt.Sprintf(", … %d", numbers[len(numbers)-1])
		}
		if i == j {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
