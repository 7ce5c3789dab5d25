package antagonist

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"
)

// starts runs a class without servers, and returns how many requests started in
// each second, and when.
func starts(t *testing.T, length time.Duration, c Class) (perSecond []int, at []time.Duration) {
	t.Helper()
	r := Run(t, Scenario{
		For:  length,
		Seed: 5,
		Load: Load{c},
		Client: func(w *World) Client {
			return func(context.Context, *Request) error {
				at = append(at, w.Elapsed()) // one request at a time: none of them waits
				return nil
			}
		},
	})
	for _, s := range r.Seconds {
		perSecond = append(perSecond, s.Offered)
	}
	return perSecond, at
}

func TestRates(t *testing.T) {
	for _, test := range []struct {
		name string
		rate Rate
		want []int
	}{
		{"constant", Constant(100), []int{100, 100, 100, 100, 100, 100}},
		{"steps", Steps(2*sec, 10, 100, 1000), []int{10, 10, 100, 100, 1000, 1000}},
		{"steps keep the last", Steps(sec, 10, 100), []int{10, 100, 100, 100, 100, 100}},
		{"ramp", Ramp(0, 400, 4*sec), []int{50, 150, 250, 350, 400, 400}},
		{"spike", Spike(100, 500, 2*sec, 4*sec), []int{100, 100, 500, 500, 100, 100}},
		{"daily", Daily(0, 200, 4*sec), []int{18, 82, 118, 182, 182, 118}},
		{"trace", Trace(2*sec, 0, 200, 100), []int{50, 150, 175, 125, 100, 100}},
		{"function", RateFunc(func(at time.Duration) float64 { return 10 * at.Truncate(sec).Seconds() }), []int{0, 10, 20, 30, 40, 50}},
		{"times", Constant(50).Times(2), []int{100, 100, 100, 100, 100, 100}},
		{"plus", Constant(50).Plus(Spike(0, 50, sec, 2*sec)), []int{50, 100, 50, 50, 50, 50}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := starts(t, 6*sec, Class{Rate: test.rate, Arrivals: Paced})
			if test.name == "daily" {
				// from low at 0 to high after half a day, and back
				near(t, "first half-day", float64(got[0]+got[1]), 200, 0.02)
				near(t, "second half-day", float64(got[2]+got[3]), 200, 0.02)
				if !(got[0] < got[1] && got[2] > got[3] && got[4] < got[5]) {
					t.Errorf("does not rise and fall: %v", got)
				}
				return
			}
			for i := range got {
				if d := got[i] - test.want[i]; d < -1 || d > 1 {
					t.Fatalf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

func TestPacedArrivalsAreEven(t *testing.T) {
	_, at := starts(t, 2*sec, Class{Rate: Constant(300), Arrivals: Paced})
	for i := 1; i < len(at); i++ {
		if gap := at[i] - at[i-1]; (gap - sec/300).Abs() > time.Microsecond {
			t.Fatalf("gap %d is %v, want %v", i, gap, sec/300)
		}
	}
}

// The counts of a Poisson process vary as much as they are large, and its gaps
// as much as they are long.
func TestPoissonArrivals(t *testing.T) {
	counts, at := starts(t, 300*sec, Class{Rate: Constant(100)})
	sum, squares := 0.0, 0.0
	for _, n := range counts {
		sum += float64(n)
		squares += float64(n * n)
	}
	mean := sum / float64(len(counts))
	near(t, "mean", mean, 100, 0.03)
	near(t, "index of dispersion", (squares/float64(len(counts))-mean*mean)/mean, 1, 0.25)

	gaps := make([]float64, len(at)-1)
	for i := range gaps {
		gaps[i] = (at[i+1] - at[i]).Seconds()
	}
	slices.Sort(gaps)
	near(t, "median gap", gaps[len(gaps)/2], math.Ln2/100, 0.03)
}

func TestRecordedArrivals(t *testing.T) {
	_, at := starts(t, 2*sec, Class{At: []time.Duration{0, 10 * ms, 10 * ms, 1500 * ms, 2 * sec, 3 * sec}})
	want := []time.Duration{0, 10 * ms, 10 * ms, 1500 * ms}
	if len(at) != len(want) {
		t.Fatalf("got %v, want %v", at, want)
	}
	for i := range want {
		if (at[i] - want[i]).Abs() > time.Microsecond {
			t.Errorf("got %v, want %v", at, want)
		}
	}
	counts, _ := starts(t, 2*sec, Load{{At: []time.Duration{0, 500 * ms, 1500 * ms}}}.Times(2)[0])
	equal(t, "replayed twice as fast: first second", counts[0], 3)
}

func TestLoadTimes(t *testing.T) {
	load := Load{{Name: "a", Rate: Constant(100)}, {Name: "b", Rate: Spike(10, 20, sec, 2*sec)}}
	double := load.Times(2)
	equal(t, "a", double[0].Rate.PerSecond(0), 200)
	equal(t, "b", double[1].Rate.PerSecond(1500*ms), 40)
	equal(t, "the original", load[0].Rate.PerSecond(0), 100)
	equal(t, "the end of the spike", double[1].Rate.to, 2*sec)
}

func TestClasses(t *testing.T) {
	seen := make(map[string]int)
	r := Run(t, Scenario{
		For: 10 * sec,
		Load: Load{
			{Name: "checkout", Rate: Constant(20), Patience: sec},
			{Name: "bots", Rate: Constant(200)},
		},
		Client: func(w *World) Client {
			return func(ctx context.Context, r *Request) error {
				if r.Index != seen[r.Class] {
					t.Errorf("%s has index %d, want %d", r.Class, r.Index, seen[r.Class])
				}
				seen[r.Class]++
				if _, ok := ctx.Deadline(); ok != (r.Class == "checkout") {
					t.Errorf("%s has a deadline: %v", r.Class, ok)
				}
				if r.Class == "bots" {
					return ErrRefused
				}
				return nil
			}
		},
	})
	equal(t, "good checkouts", r.Class("checkout").Good, seen["checkout"])
	equal(t, "refused bots", r.Class("bots").Refused, seen["bots"])
	equal(t, "offered", r.Offered, seen["checkout"]+seen["bots"])
	if r.Class("nobody") != nil {
		t.Error("there is a class that is not in the load")
	}
}
