package antagonist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// answered runs one request at each start, all calling one server, and returns
// in which order they were answered, by index, and their errors.
func answered(t *testing.T, s Server, patience time.Duration, starts ...time.Duration) (order []int, errs map[int]error, r *Result) {
	t.Helper()
	s.Name = "server"
	errs = make(map[int]error)
	var mu sync.Mutex
	r = Run(t, Scenario{
		For:     10 * sec,
		Load:    at(patience, starts...),
		Servers: []Server{s},
		Client: func(w *World) Client {
			return func(ctx context.Context, r *Request) error {
				err := w.Call(ctx, "server")
				mu.Lock()
				defer mu.Unlock()
				order = append(order, r.Index)
				errs[r.Index] = err
				return err
			}
		},
	})
	return order, errs, r
}

// every returns n starts, a step apart.
func every(step time.Duration, n int) []time.Duration {
	starts := make([]time.Duration, n)
	for i := range starts {
		starts[i] = time.Duration(i) * step
	}
	return starts
}

func TestQueueOrder(t *testing.T) {
	for _, test := range []struct {
		order Order
		want  []int
	}{
		{FIFO, []int{0, 1, 2, 3, 4}},
		{LIFO, []int{0, 4, 3, 2, 1}},
		// The queue has not been empty for longer than the interval when the
		// second call is taken out.
		{AdaptiveLIFO, []int{0, 4, 3, 2, 1}},
	} {
		got, _, _ := answered(t, Server{Workers: 1, Service: Fixed(200 * ms), Queue: Queue{Order: test.order}}, 0, every(ms, 5)...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.order, got, test.want)
		}
	}
	got, _, _ := answered(t, Server{Workers: 1, Service: Fixed(20 * ms), Queue: Queue{Order: AdaptiveLIFO}}, 0, every(ms, 4)...)
	if want := []int{0, 1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("adaptive LIFO in a burst: got %v, want %v", got, want)
	}
}

func TestQueueBound(t *testing.T) {
	for _, test := range []struct{ max, refused int }{{0, 0}, {3, 5}, {-1, 8}} {
		_, errs, r := answered(t, Server{Workers: 2, Service: Fixed(100 * ms), Queue: Queue{Max: test.max}}, 0, every(ms, 10)...)
		equal(t, fmt.Sprintf("refused with Max %d", test.max), r.Refused, test.refused)
		s := r.Server("server")
		equal(t, "counted by the server", s.Refused, test.refused)
		equal(t, "answered", s.Answered, 10-test.refused)
		equal(t, "most waiting", s.Waiting, 8-test.refused)
		equal(t, "most in service", s.InService, 2)
		if test.refused > 0 && !errors.Is(errs[9], ErrRefused) {
			t.Errorf("the last got %v", errs[9])
		}
	}
}

// A caller that leaves the queue is served nevertheless, unless the server
// notices.
func TestLeavingCallers(t *testing.T) {
	for _, test := range []struct {
		name     string
		s        Server
		answered int
		refused  int
		wasted   int
	}{
		{"unnoticed", Server{}, 10, 0, 8},
		{"dropped when their turn comes", Server{Queue: Queue{DropExpired: true}}, 3, 7, 1},
		{"noticed", Server{Cancels: true}, 2, 0, 0},
	} {
		test.s.Workers, test.s.Service = 1, Fixed(100*ms)
		_, errs, r := answered(t, test.s, 250*ms, every(ms, 10)...)
		equal(t, test.name+": good", r.Good, 2)
		equal(t, test.name+": late", r.Late, 8)
		if !errors.Is(errs[9], context.DeadlineExceeded) {
			t.Errorf("%s: the last got %v", test.name, errs[9])
		}
		s := r.Server("server")
		equal(t, test.name+": answered", s.Answered, test.answered)
		equal(t, test.name+": refused", s.Refused, test.refused)
		equal(t, test.name+": wasted", s.Wasted, test.wasted)
	}
}

// Under standing overload CoDel refuses in time what it cannot serve in time;
// without it everybody waits for ever longer.
func TestCoDel(t *testing.T) {
	rs := Compare(t, Scenario{
		For:    20 * sec,
		Load:   Load{{Rate: Constant(200), Patience: 5 * sec}},
		Client: calls("db"),
	},
		Variant{Name: "without", Change: func(s *Scenario) {
			s.Servers = []Server{{Name: "db", Workers: 10, Service: Exponential(100 * ms)}}
		}},
		Variant{Name: "with", Change: func(s *Scenario) {
			s.Servers = []Server{{Name: "db", Workers: 10, Service: Exponential(100 * ms), Queue: Queue{CoDel: CoDel{Target: 5 * ms}}}}
		}},
	)
	near(t, "without: p50", rs[0].Percentile(P50).Seconds(), 5, 0.1)
	if p99 := rs[1].Percentile(P99); p99 > 700*ms {
		t.Errorf("with CoDel: p99 is %v", p99)
	}
	near(t, "with: half is refused", float64(rs[1].Refused)/float64(rs[1].Offered), 0.5, 0.1)
	equal(t, "with: none is late", rs[1].Late, 0)
}

// With a factor that grows faster than concurrency, more at once means less in
// all.
func TestSlowdown(t *testing.T) {
	served := func(workers int) int {
		r := Run(t, Scenario{
			For:     10 * sec,
			Drain:   ms,
			Load:    Load{{Rate: Constant(1000), Patience: 100 * time.Hour}},
			Servers: []Server{{Name: "db", Workers: workers, Service: Fixed(10 * ms), Slowdown: USL(0.02, 0.01)}},
			Client:  calls("db"),
		})
		return r.Server("db").Answered
	}
	few, some, many := served(1), served(10), served(100)
	near(t, "one worker", float64(few), 1000, 0.02)
	near(t, "ten workers", float64(some), 10_000/(1+0.02*9+0.01*90), 0.05)
	near(t, "a hundred workers", float64(many), 100_000/(1+0.02*99+0.01*9900), 0.1)
}

// A server that holds its worker while it calls another is as slow as the
// other.
func TestServersCallEachOther(t *testing.T) {
	var inner *Request
	r := Run(t, Scenario{
		For:  10 * sec,
		Load: Load{{Rate: Constant(20), Arrivals: Paced}},
		Servers: []Server{
			{Name: "api", Workers: 10, Service: Fixed(10 * ms), Handle: func(w *World) Client {
				return func(ctx context.Context, r *Request) error {
					inner = r
					for range 2 {
						if err := w.Call(ctx, "db"); err != nil {
							return fmt.Errorf("api: %w", err)
						}
					}
					return nil
				}
			}},
			{Name: "db", Workers: 10, Service: Fixed(30 * ms)},
		},
		Faults: []Fault{{Server: "db", From: 5 * sec, To: 10 * sec, Fail: true}},
		Client: calls("api"),
	})
	near(t, "time in both", r.Seconds[1].P50.Seconds(), 0.070, 0.01)
	equal(t, "good", r.Good, 100)
	equal(t, "failed", r.Failed, 100)
	equal(t, "attempts at db", r.Server("db").Attempts, 300)
	equal(t, "failed at api", r.Server("api").Failed, 100)
	if inner == nil || inner.Class != "all" {
		t.Errorf("the server's code got the request %+v", inner)
	}
}

// Only a server that cancels passes its caller's leaving on.
func TestDownstreamContext(t *testing.T) {
	for _, cancels := range []bool{false, true} {
		r := Run(t, Scenario{
			For:  3 * sec,
			Load: at(100*ms, 0),
			Servers: []Server{
				{Name: "api", Cancels: cancels, Handle: calls("db")},
				{Name: "db", Service: Fixed(500 * ms)},
			},
			Client: calls("api"),
		})
		equal(t, "late", r.Late, 1)
		equal(t, fmt.Sprintf("wasted at db when api cancels is %v", cancels), r.Server("db").Wasted, map[bool]int{false: 0, true: 1}[cancels])
		equal(t, "wasted at api", r.Server("api").Wasted, 1)
	}
}

func TestCache(t *testing.T) {
	run := func(c Cache, faults ...Fault) *Result {
		return Run(t, Scenario{
			For:     20 * sec,
			Load:    Load{{Rate: Constant(100)}},
			Servers: []Server{{Name: "db", Service: Fixed(100 * ms), Cache: c}},
			Faults:  faults,
			Client:  calls("db"),
		})
	}
	warm := run(Cache{Keys: 200, Hit: Fixed(ms)})
	equal(t, "warm: longest", warm.Percentile(100) < 2*ms, true)

	cold := run(Cache{Keys: 200, Hit: Fixed(ms), Cold: true})
	near(t, "cold: median of the first second", cold.Seconds[0].P50.Seconds(), 0.1, 0.02)
	equal(t, "cold: median of the last second", cold.Seconds[19].P50 < 2*ms, true)

	skewed := run(Cache{Keys: 200, Skew: 2, Hit: Fixed(ms), Cold: true})
	equal(t, "skewed: median of the second second", skewed.Seconds[1].P50 < 2*ms, true)

	restarted := run(Cache{Keys: 200, Hit: Fixed(ms)}, Fault{Server: "db", From: 5 * sec, To: 6 * sec, Restart: true})
	equal(t, "before the restart", restarted.Seconds[4].Max < 2*ms, true)
	equal(t, "goodput while it is down", restarted.Seconds[5].Goodput(), 0)
	near(t, "median after the restart", restarted.Seconds[6].P50.Seconds(), 0.1, 0.02)
	equal(t, "median when it is warm again", restarted.Seconds[19].P50 < 2*ms, true)
}

// On a hit the server's own code does not run.
func TestCacheShieldsTheServerBehind(t *testing.T) {
	r := Run(t, Scenario{
		For:  5 * sec,
		Load: Load{{Rate: Constant(100)}},
		Servers: []Server{
			{Name: "api", Cache: Cache{Keys: 10, Cold: true}, Handle: calls("db")},
			{Name: "db", Service: Fixed(ms)},
		},
		Client: calls("api"),
	})
	equal(t, "attempts at db", r.Server("db").Attempts, 10)
}
