package antagonist

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func valid() Scenario {
	return Scenario{
		For:     10 * sec,
		Load:    Load{{Rate: Constant(10)}},
		Servers: []Server{{Name: "db", Workers: 1}, {Name: "cache"}},
		Client:  calls("db"),
	}
}

// What makes no sense is refused with a sentence that says what.
func TestValidate(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	load := func(c ...Class) func(*Scenario) { return func(s *Scenario) { s.Load = c } }
	rate := func(r Rate) func(*Scenario) { return load(Class{Rate: r}) }
	server := func(v Server) func(*Scenario) {
		return func(s *Scenario) {
			if v.Name == "" {
				v.Name = "db"
			}
			s.Servers = []Server{v}
		}
	}
	fault := func(f Fault) func(*Scenario) {
		return func(s *Scenario) {
			if f.Server == "" {
				f.Server = "db"
			}
			s.Faults = []Fault{f}
		}
	}
	require := func(r Requirement) func(*Scenario) { return func(s *Scenario) { s.Require = []Requirement{r} } }
	during := func(f Fault) func(*Scenario) {
		f.From, f.To = sec, 2*sec
		return fault(f)
	}
	for _, test := range []struct {
		change func(*Scenario)
		want   string
	}{
		{func(s *Scenario) { s.For = 0 }, "For must be at least a second, got 0s"},
		{func(s *Scenario) { s.For = -time.Minute }, "For must be at least a second"},
		{func(s *Scenario) { s.For = math.MaxInt64 }, "For must be at most"},
		{func(s *Scenario) { s.Drain = -1 }, "Drain must be"},
		{func(s *Scenario) { s.Client = nil }, "Client is missing"},

		{load(), "nobody calls"},
		{load(Class{}), "Rate is missing"},
		{load(Class{Name: "a", Rate: Constant(1)}, Class{Rate: Constant(1)}), "needs a Name"},
		{load(Class{Name: "a", Rate: Constant(1)}, Class{Name: "a", Rate: Constant(1)}), "two classes"},
		{load(Class{Rate: Constant(1), Patience: -1}), "Patience must be"},
		{load(Class{Rate: Constant(1), Arrivals: 9}), "Poisson or Paced"},
		{load(Class{Rate: Constant(1), At: []time.Duration{0}}), "not both"},
		{load(Class{At: []time.Duration{-1}}), "At must ascend from 0"},
		{load(Class{At: []time.Duration{2, 1}}), "At[1] is 1ns"},
		{rate(Constant(math.NaN())), "at 0s it is NaN"},
		{rate(Constant(math.Inf(1))), "at 0s it is +Inf"},
		{rate(Constant(-1)), "at 0s it is -1"},
		{rate(Constant(0)), "0 throughout"},
		{rate(Constant(1e12)), "lower the rates or shorten For"},
		{rate(Ramp(10, -10, 10*sec)), "not below 0"},
		{rate(Ramp(1, 2, 0)), "Ramp needs a positive time"},
		{rate(Steps(0, 1)), "Steps needs"},
		{rate(Steps(sec)), "at least one rate"},
		{rate(Spike(1, 2, 2*sec, sec)), "Spike needs to end after it starts"},
		{rate(Spike(1, 2, 2*sec, 20*sec)), "does not end within the run of 10s"},
		{rate(Daily(1, 2, -1)), "Daily needs"},
		{rate(Trace(sec)), "Trace needs"},
		{rate(RateFunc(nil)), "RateFunc needs a function"},
		{rate(Constant(1).Plus(Ramp(1, 2, 0))), "Ramp needs a positive time"},

		{func(s *Scenario) { s.Servers = append(s.Servers, Server{Name: "db"}) }, `two servers named "db"`},
		{func(s *Scenario) { s.Servers[0].Name = "" }, "Name is missing"},
		{server(Server{Name: "a/b"}), "host name"},
		{server(Server{Workers: -1}), "Workers must not be negative"},
		{server(Server{Service: Fixed(-1)}), "Fixed needs"},
		{server(Server{Service: Exponential(0)}), "Exponential needs a positive mean"},
		{server(Server{Service: LogNormal(2, 1)}), "LogNormal needs"},
		{server(Server{Service: Empirical()}), "Empirical needs"},
		{server(Server{Service: Empirical(-1)}), "Empirical needs"},
		{server(Server{Service: Fixed(1).Stragglers(math.NaN(), 2)}), "Stragglers needs a share"},
		{server(Server{Service: Fixed(1).Stragglers(0.1, 0.5)}), "Stragglers needs a share"},
		{server(Server{Service: Fixed(-1).Stragglers(0.1, 5)}), "Fixed needs"},
		{server(Server{Queue: Queue{Max: 1}}), "needs a bound on Workers"},
		{server(Server{Workers: 1, Queue: Queue{Order: 9}}), "Queue.Order must be"},
		{server(Server{Workers: 1, Queue: Queue{CoDel: CoDel{Target: -1}}}), "CoDel times"},
		{server(Server{Cache: Cache{Keys: -1}}), "Keys must not be negative"},
		{server(Server{Cache: Cache{Cold: true}}), "Keys is missing"},
		{server(Server{Cache: Cache{Keys: 9, Skew: 1}}), "Skew must be"},
		{server(Server{Cache: Cache{Keys: 9, Skew: math.NaN()}}), "Skew must be"},
		{server(Server{Cache: Cache{Keys: 9, Hit: Fixed(-1)}}), "Cache.Hit"},
		{server(Server{Handle: calls("db"), Handler: http.NotFoundHandler()}), "not both"},

		{during(Fault{Server: "bd", Hang: true}), `no server "bd"; the scenario has "db", "cache"`},
		{during(Fault{}), "does nothing"},
		{fault(Fault{From: 5 * sec, To: 11 * sec, Hang: true}), "within the run of 10s"},
		{fault(Fault{From: 5 * sec, To: 5 * sec, Hang: true}), "end after that"},
		{fault(Fault{From: -sec, To: 5 * sec, Hang: true}), "start at 0 or later"},
		{during(Fault{Hang: true, Share: 1.5}), "Share must be"},
		{during(Fault{Hang: true, Share: math.NaN()}), "Share must be"},
		{during(Fault{Slow: math.Inf(1)}), "Slow must be"},
		{during(Fault{Slow: -1}), "Slow must be"},
		{during(Fault{LoseWorkers: 2}), "LoseWorkers must be"},
		{during(Fault{Server: "cache", LoseWorkers: 0.5}), "needs a bound on the server's Workers"},

		{require(Requirement{}), "the zero Requirement"},
		{require(Goodput(99)), "share from 0 to 1"},
		{require(Goodput(math.NaN())), "share from 0 to 1"},
		{require(Latency(0, sec)), "percentile from 1"},
		{require(Latency(0.99, sec)), "such as antagonist.P99"},
		{require(Latency(P99, -sec)), "not negative"},
		{require(Goodput(0.9).Of("bots")), `no class "bots"`},
		{require(Goodput(0.9).Between(5*sec, 20*sec)), "within the run of 10s"},
		{require(Goodput(0.9).Between(5*sec, 5*sec)), "at least a whole second"},
		{require(Amplification("bd", 2)), `no server "bd"`},
		{require(NeverMoreThan(1, Metric{})), "is empty"},
		{require(NeverMoreThan(1, Attempts("db")).Of("all")), "leave out Of"},
		{require(RecoversWithin(sec)), "nothing to recover from"},
		{require(RecoversWithin(-sec)), "not negative"},
		{require(That("x", nil)), "needs a function"},
		{func(s *Scenario) {
			s.Faults = []Fault{{Server: "db", From: sec, To: 10 * sec, Hang: true}}
			s.Require = []Requirement{RecoversWithin(sec)}
		}, "let it run on"},
		{func(s *Scenario) {
			s.Faults = []Fault{{Server: "db", From: sec, To: 2 * sec, Hang: true}}
			s.Require = []Requirement{RecoversWithin(sec).Overall()}
		}, "leave out Between and Overall"},
	} {
		s := valid()
		s.Load[0].Name = "all"
		test.change(&s)
		err := s.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "antagonist: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want a sentence with %q, got: %v", test.want, err)
		}
	}
}

func TestCompareLeavesTheScenarioAlone(t *testing.T) {
	s := valid()
	Compare(t, s,
		Variant{Name: "double", Change: func(s *Scenario) { s.Load = s.Load.Times(2) }, Require: []Requirement{Goodput(0)}},
		Variant{Name: "single"},
	)
	equal(t, "rate", s.Load[0].Rate.PerSecond(0), 10)
	equal(t, "requirements", len(s.Require), 0)
	equal(t, "name of the class", s.Load[0].Name, "")
}

// The code under test may keep goroutines that end with the run, and things to
// close.
func TestBackgroundAndCleanup(t *testing.T) {
	var order []string
	ticks := 0
	Run(t, Scenario{
		For:  5 * sec,
		Load: at(0, 0),
		Client: func(w *World) Client {
			w.Cleanup(func() { order = append(order, "first") })
			w.Cleanup(func() { order = append(order, "second") })
			go func() {
				ticker := time.NewTicker(sec)
				defer ticker.Stop()
				for {
					select {
					case <-ticker.C:
						ticks++
					case <-w.Context().Done():
						return
					}
				}
			}()
			return func(context.Context, *Request) error { return nil }
		},
	})
	equal(t, "cleanups", strings.Join(order, ", "), "second, first")
	if ticks < 4 || ticks > 5 {
		t.Errorf("the goroutine in the background ticked %d times", ticks)
	}
}
