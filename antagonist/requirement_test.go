package antagonist

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// outage is a run in which a third of the requests of two classes fail between
// 20s and 30s, and half come back 4s late.
func outage(t *testing.T) *Result {
	t.Helper()
	return Run(t, Scenario{
		For:     60 * sec,
		Load:    Load{{Name: "checkout", Rate: Constant(10), Arrivals: Paced, Patience: sec}, {Name: "browse", Rate: Constant(90), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Workers: 100, Service: Fixed(20 * ms)}},
		Faults:  []Fault{{Server: "db", From: 20 * sec, To: 30 * sec, Hang: true}},
		Client:  tries(3, 500*ms, "db"),
	})
}

func TestRequirements(t *testing.T) {
	r := outage(t)
	for _, test := range []struct {
		q    Requirement
		want string // of the violation; "": holds
	}{
		{Goodput(0.99), "goodput at least 99%: second 19 had "},
		{Goodput(0.99).Between(0, 19*sec), ""},
		{Goodput(0.99).Between(19500*ms, 30*sec), "in 10 of 10 seconds: 20-29"},
		{Goodput(0.8).Overall(), ""},
		{Goodput(0.9).Overall(), "goodput at least 90% overall: it was 84.7%"},
		{Goodput(0.99).Of("checkout"), "goodput at least 99% of checkout: second 20 had 0%"},
		{Latency(P99, 100*ms), "p99 latency at most 100ms: second 20 had 1"},
		{Latency(P50, 100*ms).Between(31*sec, 60*sec), ""},
		{Latency(P50, 21*ms).Overall(), ""},
		{Latency(P999, 500*ms).Overall().Of("checkout"), "p99.9 latency at most 500ms of checkout overall: it was 1s"},
		{Amplification("db", 1.5), "amplification at db at most 1.50×: second 20 had "},
		{Amplification("db", 1.5).Overall(), ""},
		{Amplification("db", 1.2).Overall(), "it was 1.3"},
		{RecoversWithin(5 * sec), ""},
		{RecoversWithin(5 * sec).Of("checkout"), ""},
		{NeverMoreThan(200, InFlight()), ""},
		{NeverMoreThan(50, InFlight()), "requests in flight at most 50: second 20 had "},
		{NeverMoreThan(9, InFlight().withName("x")).Of("checkout"), "x at most 9 of checkout: second 20 had "},
		{NeverMoreThan(100, Attempts("db")).Between(0, 20*sec), ""},
		{NeverMoreThan(101, Attempts("db")), "attempts per second at db at most 101: second 20 had 1"},
		{NeverMoreThan(150, Attempts("db")).Overall(), ""},
		{NeverMoreThan(100, InService("db")), ""},
		{NeverMoreThan(99, InService("db")), "calls in service at db at most 99: second 20 had 100"},
		{NeverMoreThan(500, Waiting("db")), "calls waiting at db at most 500"},
		{NeverMoreThan(1, Goroutines()).Overall(), "goroutines at most 1 overall: it was "},
		{That("is fine", func(*Result) error { return nil }), ""},
		{That("is fine", func(*Result) error { return errors.New("it is not") }), "is fine: it is not"},
	} {
		broken := r.Check(test.q)
		switch {
		case test.want == "" && len(broken) > 0:
			t.Errorf("%v should hold: %v", test.q, broken[0])
		case test.want != "" && len(broken) == 0:
			t.Errorf("%v should not hold", test.q)
		case test.want != "":
			var v *Violation
			if !errors.As(broken[0], &v) || !strings.Contains(v.Summary(), test.want) {
				t.Errorf("want a violation with %q, got: %v", test.want, broken[0])
			}
		}
	}
	if err := r.Check(Goodput(0.9).Of("nobody")); len(err) != 1 || !strings.Contains(err[0].Error(), `no class "nobody"`) {
		t.Errorf("got %v", err)
	}
}

func (m Metric) withName(name string) Metric {
	m.name = name
	return m
}

// The message names the seconds, draws them, and shows what went wrong below.
func TestViolationMessage(t *testing.T) {
	r := outage(t)
	broken := r.Check(Goodput(0.99).Of("checkout"))
	if len(broken) != 1 {
		t.Fatalf("got %v", broken)
	}
	const want = `goodput at least 99% of checkout: second 20 had 0%; broken in 10 of 60 seconds: 20-29
       100% │████████████████████          ██████████████████████████████
            │████████████████████          ██████████████████████████████
            │████████████████████          ██████████████████████████████
            │████████████████████         ▄██████████████████████████████
            │████████████████████         ███████████████████████████████
         0% │████████████████████         ███████████████████████████████
            └────────────────────────────────────────────────────────────
             0s        10s       20s       30s       40s       50s
     broken                      ^^^^^^^^^^
    trouble                      ^^^^^^^^^^
              db: hang, 20s to 30s
`
	if got := broken[0].Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A run that is longer than the chart is wide shows the worst of the seconds
// that share a column.
func TestChartOfALongRun(t *testing.T) {
	r := Run(t, Scenario{
		For:  300 * sec,
		Load: Load{{Rate: Constant(10), Arrivals: Paced}},
		Client: func(w *World) Client {
			return func(context.Context, *Request) error {
				if w.Elapsed()/sec == 203 {
					return ErrFailed
				}
				return nil
			}
		},
	})
	broken := r.Check(Goodput(1))
	if len(broken) != 1 {
		t.Fatalf("got %v", broken)
	}
	text := broken[0].Error()
	if !strings.Contains(text, "second 203 had 0%\n") {
		t.Errorf("the second is missing in %s", text)
	}
	bar := strings.Repeat("█", 40) + " " + strings.Repeat("█", 19)
	if strings.Count(text, bar) != chartHeight {
		t.Errorf("column 40 should be empty in\n%s", text)
	}
}

func TestRanges(t *testing.T) {
	equal(t, "ranges", ranges([]int{1, 2, 3, 5, 7, 8}), "1-3, 5, 7-8")
	equal(t, "many", ranges([]int{1, 3, 5, 7, 9, 11, 13, 15}), "1, 3, 5, 7, 9, 11, … 15")
}

func TestNotRecovered(t *testing.T) {
	r := Run(t, Scenario{
		For:     20 * sec,
		Load:    Load{{Rate: Constant(70)}},
		Servers: []Server{{Name: "db", Workers: 10, Service: Exponential(100 * ms)}},
		Faults:  []Fault{{Server: "db", From: 5 * sec, To: 8 * sec, Slow: 5}},
		Client:  tries(5, sec, "db"),
	})
	broken := r.Check(RecoversWithin(2 * time.Second))
	if len(broken) != 1 || !strings.Contains(broken[0].Error(), "goodput was not back 12s after the trouble ended at 8s") {
		t.Errorf("got %v", broken)
	}
	equal(t, "metastable", r.Metastable, true)
}

func TestResultsTable(t *testing.T) {
	rs := Compare(t, Scenario{
		For:     30 * sec,
		Load:    Load{{Rate: Constant(10), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Service: Fixed(20 * ms)}},
		Faults:  []Fault{{Server: "db", From: 10 * sec, To: 13 * sec, Fail: true}},
	},
		Variant{Name: "as it is", Client: calls("db")},
		Variant{Name: "with retries", Client: tries(3, sec, "db")},
	)
	lines := strings.Split(strings.TrimSpace(rs.String()), "\n")
	equal(t, "lines", len(lines), 3)
	for i, want := range [][]string{
		{"variant", "offered", "good", "recovery", "at db"},
		{"as it is", "300", "90%", "300 (1.00×)", "after 0s"},
		{"with retries", "300", "360 (1.20×)"},
	} {
		for _, cell := range want {
			if !strings.Contains(lines[i], cell) {
				t.Errorf("line %d lacks %q: %s", i, cell, lines[i])
			}
		}
	}
	if rs.Variant("nobody") != nil || rs[0].Server("nobody") != nil {
		t.Error("found what is not there")
	}
	equal(t, "variant", rs.Variant("as it is"), rs[0])
}
