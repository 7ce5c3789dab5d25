package antagonist

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// at is a load of single requests.
func at(patience time.Duration, starts ...time.Duration) Load {
	return Load{{At: starts, Patience: patience}}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestWhatBecomesOfRequests(t *testing.T) {
	own := errors.New("own refusal")
	for _, test := range []struct {
		name     string
		patience time.Duration
		stays    bool
		client   Client
		want     Counts
	}{
		{"answered", sec, false, func(context.Context, *Request) error { return nil }, Counts{Offered: 1, Good: 1}},
		{"failed", sec, false, func(context.Context, *Request) error { return ErrFailed }, Counts{Offered: 1, Failed: 1}},
		{"refused", sec, false, func(context.Context, *Request) error { return fmt.Errorf("wrapped: %w", ErrRefused) }, Counts{Offered: 1, Refused: 1}},
		{"another refusal fails", sec, false, func(context.Context, *Request) error { return own }, Counts{Offered: 1, Failed: 1}},
		{"out of patience", sec, false, func(ctx context.Context, _ *Request) error { return sleep(ctx, 2*sec) }, Counts{Offered: 1, Late: 1}},
		{"answered too late", sec, false, func(context.Context, *Request) error { time.Sleep(2 * sec); return nil }, Counts{Offered: 1, Late: 1}},
		{"failed too late", sec, false, func(context.Context, *Request) error { time.Sleep(2 * sec); return ErrFailed }, Counts{Offered: 1, Late: 1}},
		{"gone unnoticed", sec, true, func(ctx context.Context, _ *Request) error { return sleep(ctx, 2*sec) }, Counts{Offered: 1, Late: 1}},
		{"slow, and the caller waits", 0, false, func(ctx context.Context, _ *Request) error { return sleep(ctx, 20*sec) }, Counts{Offered: 1, Good: 1}},
		{"not answered by the end", 0, false, func(ctx context.Context, _ *Request) error { return sleep(ctx, time.Hour) }, Counts{Offered: 1, Late: 1}},
		{"deaf to the end", 0, false, func(context.Context, *Request) error { time.Sleep(time.Hour); return nil }, Counts{Offered: 1, Late: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			load := at(test.patience, 500*ms)
			load[0].Stays = test.stays
			r := Run(t, Scenario{For: 3 * sec, Load: load, Client: func(*World) Client { return test.client }})
			equal(t, "counts", r.Counts, test.want)
			equal(t, "first second", r.Seconds[0].Counts, test.want)
			equal(t, "second second", r.Seconds[1].Counts, Counts{})
		})
	}
	r := Run(t, Scenario{
		For: 3 * sec, Load: at(sec, 0), Refused: func(err error) bool { return errors.Is(err, own) },
		Client: func(*World) Client { return func(context.Context, *Request) error { return own } },
	})
	equal(t, "refusals that the scenario names", r.Refused, 1)
}

// A stall of one second delays everyone who was due meanwhile, and the
// latencies say so: no coordinated omission.
func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	r := Run(t, Scenario{
		For:     10 * sec,
		Load:    Load{{Rate: Constant(100), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Workers: 10, Service: Fixed(ms)}},
		Faults:  []Fault{{Server: "db", From: 5 * sec, To: 6 * sec, Hang: true}},
		Client:  calls("db"),
	})
	near(t, "median during the stall", r.Seconds[5].P50.Seconds(), 0.5, 0.05)
	near(t, "longest during the stall", r.Seconds[5].Max.Seconds(), 1, 0.05)
	equal(t, "p50 overall", r.Percentile(P50) < 2*ms, true)
	near(t, "p99 overall: a tenth waited up to a second", r.Percentile(P99).Seconds(), 0.9, 0.05)
	near(t, "in flight at the peak", float64(r.InFlight), 100, 0.05)
	near(t, "goroutines at the peak", float64(r.Goroutines), 100, 0.1)
}

// Twice the load for ten seconds tips a system that retries, and it stays down
// when the load is long back to normal.
func TestMetastable(t *testing.T) {
	rs := Compare(t, Scenario{
		For:     60 * sec,
		Load:    Load{{Rate: Spike(70, 200, 15*sec, 20*sec)}},
		Servers: []Server{{Name: "db", Workers: 10, Service: Exponential(100 * ms)}},
	}, Variant{Name: "once", Client: tries(1, sec, "db")}, Variant{Name: "three tries", Client: tries(3, sec, "db")})
	once, thrice := rs.Variant("once"), rs.Variant("three tries")
	equal(t, "once recovers", once.Recovered, true)
	equal(t, "once is metastable", once.Metastable, false)
	if once.RecoveredAfter <= 0 || once.RecoveredAfter > 30*sec {
		t.Errorf("once recovered after %v", once.RecoveredAfter)
	}
	equal(t, "three tries recover", thrice.Recovered, false)
	equal(t, "three tries are metastable", thrice.Metastable, true)
	if a := thrice.Amplification("db"); a < 2 || a > 3 {
		t.Errorf("amplification of three tries: %v", a)
	}
	near(t, "amplification of one try", once.Amplification("db"), 1, 1e-9)
	equal(t, "amplification of no server", once.Amplification("nobody"), 0)
}

func TestRecovery(t *testing.T) {
	series := func(good ...int) *Series {
		s := newSeries("all", len(good))
		for i, n := range good {
			s.Seconds[i].Counts = Counts{Offered: 100, Good: n}
		}
		return s
	}
	for _, test := range []struct {
		name  string
		s     *Series
		after time.Duration
		ok    bool
	}{
		{"at once", series(100, 100, 0, 100, 100, 100), 0, true},
		{"after two seconds", series(100, 100, 0, 10, 10, 100, 100, 100), 2 * sec, true},
		{"never", series(100, 100, 0, 10, 10, 10), 0, false},
		{"to what it was", series(50, 50, 0, 50, 50, 50), 0, true},
		{"relapse", series(100, 100, 0, 100, 100, 100, 0, 0, 100, 100, 100), 5 * sec, true},
		{"a blip is noise", series(100, 100, 0, 100, 90, 100, 100, 100), 0, true},
	} {
		after, ok := test.s.recovery(2*sec, 3*sec)
		if after != test.after || ok != test.ok {
			t.Errorf("%s: got %v %v, want %v %v", test.name, after, ok, test.after, test.ok)
		}
	}
}

func TestUndisturbed(t *testing.T) {
	r := Run(t, Scenario{For: 2 * sec, Load: at(0, 0), Client: func(*World) Client {
		return func(context.Context, *Request) error { return nil }
	}})
	equal(t, "disturbed", r.Disturbed, false)
	equal(t, "metastable", r.Metastable, false)
	equal(t, "goodput of an empty second", r.Seconds[1].Goodput(), 1)
	equal(t, "percentile", r.Percentile(P99), 0)
}

func TestPercentilesAreThoseOfASortedList(t *testing.T) {
	s := newSeries("all", 2)
	for i := range 1000 {
		s.latencies[i%2] = append(s.latencies[i%2], uint32(1000*(i+1)))
	}
	near(t, "p50", s.Percentile(P50).Seconds(), 0.5, 0.002)
	near(t, "p99", s.Percentile(P99).Seconds(), 0.99, 0.002)
	near(t, "p99.9", s.Percentile(P999).Seconds(), 0.999, 0.002)
	near(t, "max", s.Percentile(100).Seconds(), 1, 0.002)
}
