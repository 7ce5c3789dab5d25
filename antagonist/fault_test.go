package antagonist

import (
	"context"
	"errors"
	"testing"
	"time"
)

// struck runs paced calls of 10ms against a server with ten workers that the
// faults befall, and returns the errors by the second in which they came.
func struck(t *testing.T, faults ...Fault) (*Result, map[int][]error) {
	t.Helper()
	for i := range faults {
		faults[i].Server = "db"
	}
	errs := &failures{}
	r := Run(t, Scenario{
		For:     9 * sec,
		Load:    Load{{Rate: Constant(100), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Workers: 10, Service: Fixed(10 * ms), Queue: Queue{Max: 1000}}},
		Faults:  faults,
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				err := w.Call(ctx, "db")
				if err != nil {
					errs.add(w, err)
				}
				return err
			}
		},
	})
	return r, errs.bySecond
}

// Each fault does what it says between From and To, and nothing before or
// after.
func TestFaults(t *testing.T) {
	const from, to = 3 * sec, 5 * sec
	for _, test := range []struct {
		name  string
		fault Fault
		err   error
		check func(t *testing.T, r *Result)
	}{
		{"hang", Fault{Hang: true}, nil, func(t *testing.T, r *Result) {
			near(t, "longest", r.Seconds[3].Max.Seconds(), 2, 0.02)
			near(t, "median of the last hung second", r.Seconds[4].P50.Seconds(), 0.65, 0.2)
			equal(t, "workers held", r.Server("db").Seconds[4].InService, 10)
		}},
		{"slow", Fault{Slow: 5}, nil, func(t *testing.T, r *Result) {
			near(t, "median", r.Seconds[3].P50.Seconds(), 0.050, 0.01)
		}},
		{"slow for some", Fault{Slow: 5, Share: 0.25}, nil, func(t *testing.T, r *Result) {
			near(t, "median", r.Seconds[3].P50.Seconds(), 0.010, 0.01)
			near(t, "p99", r.Seconds[3].P99.Seconds(), 0.050, 0.01)
		}},
		{"fail", Fault{Fail: true}, ErrFailed, func(t *testing.T, r *Result) { equal(t, "failed", r.Failed, 200) }},
		{"fail for some", Fault{Fail: true, Share: 0.5}, ErrFailed, func(t *testing.T, r *Result) {
			near(t, "failed", float64(r.Failed), 100, 0.2)
		}},
		{"cut", Fault{Cut: true}, ErrCut, func(t *testing.T, r *Result) { equal(t, "failed", r.Failed, 200) }},
		{"refuse", Fault{Refuse: true}, ErrRefused, func(t *testing.T, r *Result) {
			equal(t, "refused", r.Refused, 200)
			equal(t, "refused by the server", r.Server("db").Refused, 200)
			equal(t, "attempts", r.Server("db").Seconds[3].Attempts, 100)
		}},
		{"lose all workers", Fault{LoseWorkers: 1}, nil, func(t *testing.T, r *Result) {
			near(t, "longest", r.Seconds[3].Max.Seconds(), 2, 0.02)
			near(t, "waiting", float64(r.Server("db").Seconds[4].Waiting), 200, 0.02)
		}},
		{"lose most workers", Fault{LoseWorkers: 0.9}, nil, func(t *testing.T, r *Result) {
			equal(t, "in service", r.Server("db").Seconds[3].InService, 1)
		}},
		{"restart", Fault{Restart: true}, ErrRefused, func(t *testing.T, r *Result) {
			equal(t, "lost in it", r.Failed, 1)
			equal(t, "lost in it, says the server", r.Server("db").Failed, 1)
			equal(t, "refused meanwhile", r.Refused, 200)
		}},
		{"slow and failing", Fault{Slow: 3, Fail: true}, ErrFailed, func(t *testing.T, r *Result) {
			near(t, "failed", float64(r.Failed), 200, 0.02)
			near(t, "in flight", float64(r.Seconds[4].InFlight), 3, 0.35)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fault.From, test.fault.To = from, to
			r, errs := struck(t, test.fault)
			for second := range r.Seconds {
				switch got := errs[second]; {
				case second >= 3 && second < 5 && test.err != nil:
					if len(got) == 0 || !errors.Is(got[len(got)-1], test.err) {
						t.Errorf("second %d: got %v, want %v", second, got, test.err)
					}
				case second < 3 && len(got) > 0, second > 5 && len(got) > 0:
					t.Errorf("second %d: got %v outside of the fault", second, got[0])
				}
			}
			near(t, "median before", r.Seconds[1].P50.Seconds(), 0.010, 0.01)
			near(t, "median after", r.Seconds[7].P50.Seconds(), 0.010, 0.01)
			test.check(t, r)
		})
	}
}

func TestFaultsCompose(t *testing.T) {
	r, _ := struck(t,
		Fault{From: 2 * sec, To: 6 * sec, Slow: 2},
		Fault{From: 4 * sec, To: 6 * sec, Slow: 3},
		Fault{From: 5 * sec, To: 6 * sec, Fail: true},
	)
	near(t, "one", r.Seconds[3].P50.Seconds(), 0.020, 0.01)
	near(t, "both", r.Seconds[4].P50.Seconds(), 0.060, 0.01)
	near(t, "and failing", float64(r.Seconds[5].Failed), 100, 0.1)
}

// A call that hangs keeps what was left of its service time for afterwards,
// however many hangs follow one another.
func TestHangKeepsTheRest(t *testing.T) {
	var took time.Duration
	Run(t, Scenario{
		For:     10 * sec,
		Load:    at(0, 0),
		Servers: []Server{{Name: "db", Service: Fixed(2 * sec)}},
		Faults: []Fault{
			{Server: "db", From: 1 * sec, To: 4 * sec, Hang: true},
			{Server: "db", From: 3 * sec, To: 6 * sec, Hang: true},
			{Server: "db", From: 6500 * ms, To: 7 * sec, Hang: true},
		},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				err := w.Call(ctx, "db")
				took = w.Elapsed()
				return err
			}
		},
	})
	near(t, "one second of work, five of hanging, half a second, half of hanging, half", took.Seconds(), 7.5, 0.001)
}

func TestFaultText(t *testing.T) {
	f := Fault{Server: "db", From: 3 * sec, To: 5 * sec, Slow: 3, Fail: true, Share: 0.2, LoseWorkers: 0.5}
	equal(t, "text", f.String(), "db: slow ×3, fail for 20% of calls, lose 50% of the workers, 3s to 5s")
}
