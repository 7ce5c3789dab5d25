package antagonist

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Scenario is a run in virtual time: what load comes, which servers there
// are, what goes wrong with them when, which code stands between, and what is
// required of the outcome.
type Scenario struct {
	// For is how long load arrives, in virtual time; at least a second.
	// Required.
	For time.Duration

	// Seed determines everything that is drawn at random. The same seed gives
	// the same result. Default: 0, a seed like any other.
	Seed uint64

	// Load is who calls. Required.
	Load Load

	// Servers are the dependencies of the code under test. Default: none.
	Servers []Server

	// Faults are what goes wrong. Default: nothing.
	Faults []Fault

	// Client builds the code under test: the function that handles one request.
	// It is called once for each run, inside the bubble, so that policies,
	// pools and clients are made there. Required, unless every [Variant] brings
	// one.
	Client func(*World) Client

	// Require is what must hold for every variant; see [Requirement]. Default:
	// nothing.
	Require []Requirement

	// Refused tells which errors of a request count as refused, rather than
	// failed. Default: those that are [ErrRefused]. With policies that refuse
	// calls of their own, say which errors those are.
	Refused func(error) bool

	// Drain is how long requests may take to end after the last has arrived.
	// Those that have not ended by then are late. Default: 30s.
	Drain time.Duration
}

// A Client handles one request: the code under test. It runs on a goroutine of
// its own for every request and returns nil when the request was answered. Its
// context ends with the caller's patience, and at the end of the run.
//
// For the same seed to give the same result, it draws what it needs at random
// from [World.Rand] or [Request.Rand].
type Client func(ctx context.Context, r *Request) error

// A Variant is a scenario with a difference, to be compared with others.
type Variant struct {
	// Name tells it apart in results, messages and reports. Required.
	Name string

	// Client takes the place of [Scenario.Client]. Default: that one.
	Client func(*World) Client

	// Change alters anything else of a copy of the scenario before it runs: its
	// load, its faults. Slices are shared with the original, so replace them
	// whole. Default: nothing changes.
	Change func(*Scenario)

	// Require is what must hold for this variant, besides [Scenario.Require].
	Require []Requirement
}

const defaultDrain = 30 * time.Second

// maxRequests bounds a run to what fits into memory and into a test's patience.
const maxRequests = 20_000_000

// Validate returns an error that says what to change if the scenario cannot be
// run.
func (s Scenario) Validate() error {
	if s.For < time.Second {
		return fmt.Errorf("antagonist: Scenario.For must be at least a second, got %v", s.For)
	}
	if s.For > maxTime {
		return fmt.Errorf("antagonist: Scenario.For must be at most %v, got %v", maxTime, s.For)
	}
	if s.Drain < 0 || s.Drain > maxTime {
		return fmt.Errorf("antagonist: Scenario.Drain must be from 0 to %v, got %v", maxTime, s.Drain)
	}
	if s.Client == nil {
		return fmt.Errorf("antagonist: Scenario.Client is missing: nothing to test")
	}
	if err := s.validateLoad(); err != nil {
		return err
	}
	for i, server := range s.Servers {
		if err := server.validate(); err != nil {
			return fmt.Errorf("antagonist: Scenario.Servers[%d] (%q): %w", i, server.Name, err)
		}
		if slices.ContainsFunc(s.Servers[:i], func(o Server) bool { return o.Name == server.Name }) {
			return fmt.Errorf("antagonist: Scenario.Servers[%d]: there are two servers named %q", i, server.Name)
		}
	}
	for i, f := range s.Faults {
		if err := s.validateFault(f); err != nil {
			return fmt.Errorf("antagonist: Scenario.Faults[%d] (%v): %w", i, f, err)
		}
	}
	for i, r := range s.Require {
		if err := r.validate(s); err != nil {
			return fmt.Errorf("antagonist: Scenario.Require[%d] (%v): %w", i, r, err)
		}
	}
	return nil
}

func (s Scenario) validateLoad() error {
	if len(s.Load) == 0 {
		return fmt.Errorf("antagonist: Scenario.Load has no class: nobody calls")
	}
	total := 0.0
	for i, c := range s.Load {
		where := fmt.Sprintf("antagonist: Scenario.Load[%d] (%q)", i, c.Name)
		if c.Name == "" && len(s.Load) > 1 {
			return fmt.Errorf("%s: a load of several classes needs a Name for each", where)
		}
		if slices.ContainsFunc(s.Load[:i], func(o Class) bool { return o.Name == c.Name }) {
			return fmt.Errorf("%s: there are two classes of that name", where)
		}
		if c.Patience < 0 || c.Patience > maxTime {
			return fmt.Errorf("%s: Patience must be from 0 to %v, got %v", where, maxTime, c.Patience)
		}
		if c.Arrivals > Paced {
			return fmt.Errorf("%s: Arrivals must be Poisson or Paced", where)
		}
		n, err := c.expected(s.For)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		total += n
	}
	if total > maxRequests {
		return fmt.Errorf("antagonist: Scenario.Load comes to %.0f requests, above the %d that a run can hold: lower the rates or shorten For", total, maxRequests)
	}
	return nil
}

// expected returns about how many requests a class makes, or why it cannot.
func (c Class) expected(end time.Duration) (float64, error) {
	if c.At != nil {
		if c.Rate.at != nil || c.Rate.err != nil {
			return 0, fmt.Errorf("give either Rate or At, not both")
		}
		for i, at := range c.At {
			if at < 0 || i > 0 && at < c.At[i-1] {
				return 0, fmt.Errorf("At must ascend from 0; At[%d] is %v", i, at)
			}
		}
		if len(c.At) == 0 || c.At[0] >= end {
			return 0, fmt.Errorf("At has no start within the run of %v: nobody calls", end)
		}
		return float64(len(c.At)), nil
	}
	if c.Rate.err != nil {
		return 0, c.Rate.err
	}
	if c.Rate.at == nil {
		return 0, fmt.Errorf("Rate is missing; antagonist.Constant(100) is a hundred requests a second")
	}
	if c.Rate.to > end {
		return 0, fmt.Errorf("the spike from %v to %v does not end within the run of %v", c.Rate.from, c.Rate.to, end)
	}
	const step = resolution // those that arrivals asks for
	sum := 0.0
	for at := time.Duration(0); at < end; at += step {
		rate := c.Rate.at(at)
		if !(rate >= 0) || math.IsInf(rate, 0) {
			return 0, fmt.Errorf("Rate must be a finite number of requests per second, not below 0; at %v it is %v", at, rate)
		}
		sum += rate * step.Seconds()
	}
	if sum == 0 {
		return 0, fmt.Errorf("Rate is 0 throughout: nobody calls")
	}
	return sum, nil
}

func (s Server) validate() error {
	if s.Name == "" {
		return fmt.Errorf("Name is missing")
	}
	if strings.ContainsAny(s.Name, "/:?# ") {
		return fmt.Errorf("Name must be fit for a host name, without '/', ':', '?', '#' and spaces")
	}
	if s.Workers < 0 {
		return fmt.Errorf("Workers must not be negative, got %d", s.Workers)
	}
	if s.Service.err != nil {
		return fmt.Errorf("Service: %w", s.Service.err)
	}
	if s.Queue.Order > AdaptiveLIFO {
		return fmt.Errorf("Queue.Order must be FIFO, LIFO or AdaptiveLIFO")
	}
	if s.Workers == 0 && s.Queue != (Queue{}) {
		return fmt.Errorf("a Queue needs a bound on Workers; without one nothing waits")
	}
	if s.Queue.CoDel.Target < 0 || s.Queue.CoDel.Interval < 0 {
		return fmt.Errorf("Queue.CoDel times must not be negative")
	}
	if c := s.Cache; c.Keys < 0 {
		return fmt.Errorf("Cache.Keys must not be negative, got %d", c.Keys)
	} else if c.Keys == 0 && (c.Skew != 0 || c.Cold || c.Hit.draw != nil) {
		return fmt.Errorf("Cache.Keys is missing: a cache needs keys")
	} else if c.Skew != 0 && !(c.Skew > 1 && c.Skew < 100) {
		return fmt.Errorf("Cache.Skew must be 0, or above 1 and below 100, got %v", c.Skew)
	} else if c.Hit.err != nil {
		return fmt.Errorf("Cache.Hit: %w", c.Hit.err)
	}
	if s.Handle != nil && s.Handler != nil {
		return fmt.Errorf("give either Handle or Handler, not both")
	}
	return nil
}

func (s Scenario) validateFault(f Fault) error {
	server := slices.IndexFunc(s.Servers, func(o Server) bool { return o.Name == f.Server })
	if server < 0 {
		return fmt.Errorf("there is no server %q; the scenario has %s", f.Server, s.serverNames())
	}
	if f.From < 0 || f.To <= f.From || f.To > s.For {
		return fmt.Errorf("must start at 0 or later and end after that, within the run of %v", s.For)
	}
	if !(f.Share >= 0 && f.Share <= 1) {
		return fmt.Errorf("Share must be from 0 to 1, got %v", f.Share)
	}
	if !(f.Slow >= 0) || math.IsInf(f.Slow, 0) {
		return fmt.Errorf("Slow must be a finite factor above 0, got %v", f.Slow)
	}
	if !(f.LoseWorkers >= 0 && f.LoseWorkers <= 1) {
		return fmt.Errorf("LoseWorkers must be from 0 to 1, got %v", f.LoseWorkers)
	}
	if f.LoseWorkers > 0 && s.Servers[server].Workers == 0 {
		return fmt.Errorf("LoseWorkers needs a bound on the server's Workers")
	}
	if f.what() == "nothing" {
		return fmt.Errorf("does nothing: set Hang, Slow, Fail, Refuse, Cut, LoseWorkers or Restart")
	}
	return nil
}

func (s Scenario) serverNames() string {
	if len(s.Servers) == 0 {
		return "no servers"
	}
	names := make([]string, len(s.Servers))
	for i, server := range s.Servers {
		names[i] = fmt.Sprintf("%q", server.Name)
	}
	return strings.Join(names, ", ")
}

// variant returns the scenario as the variant wants it.
func (s Scenario) variant(v Variant) Scenario {
	if v.Client != nil {
		s.Client = v.Client
	}
	if v.Change != nil {
		v.Change(&s)
	}
	s.Require = slices.Concat(s.Require, v.Require)
	return s
}

// withDefaults fills in what the fields of a valid scenario leave open.
func (s Scenario) withDefaults() Scenario {
	if s.Drain == 0 {
		s.Drain = defaultDrain
	}
	if len(s.Load) == 1 && s.Load[0].Name == "" {
		s.Load = slices.Clone(s.Load)
		s.Load[0].Name = "all"
	}
	return s
}

// disturbance returns the span from the first instant of trouble, a fault or a
// spike of the load, to the last.
func (s Scenario) disturbance() (from, to time.Duration, disturbed bool) {
	from = s.For
	for _, f := range s.Faults {
		from, to, disturbed = min(from, f.From), max(to, f.To), true
	}
	for _, c := range s.Load {
		if c.Rate.to > 0 {
			from, to, disturbed = min(from, c.Rate.from), max(to, c.Rate.to), true
		}
	}
	return from, to, disturbed
}
