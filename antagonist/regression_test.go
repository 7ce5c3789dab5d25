package antagonist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// asks is a client that sends one request over HTTP, for no longer than patience.
func asks(method string, patience time.Duration, read func(body []byte)) func(*World) Client {
	return func(w *World) Client {
		c := &http.Client{Transport: w.Transport()}
		return func(ctx context.Context, _ *Request) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, method, "http://api/", http.NoBody)
			if err != nil {
				return err
			}
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if read != nil {
				read(body)
			}
			return err
		}
	}
}

// A handler that still slept at the end of the run, heedless of its context, ended the
// whole test binary as a deadlock.
func TestRunEndsAfterHandlersThatSleep(t *testing.T) {
	Run(t, Scenario{
		For: 5 * sec, Load: Load{{Rate: Constant(10), Arrivals: Paced, Patience: sec}},
		Servers: []Server{{Name: "api", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(2 * sec) })}},
		Client:  asks(http.MethodGet, time.Hour, nil),
	})
}

// A start that was moved past the end of the run, because its instant was taken, was
// outside of the series.
func TestTwoStartsInTheLastInstant(t *testing.T) {
	r := Run(t, Scenario{
		For: sec, Load: at(0, sec-1, sec-1), Servers: []Server{{Name: "db"}}, Client: calls("db"),
	})
	equal(t, "offered in the last second", r.Seconds[0].Offered, 2)
}

// Percentiles and the longest latency were above every latency that there was, and a
// requirement of just that did not hold.
func TestPercentilesAreLatenciesThatHappened(t *testing.T) {
	r := Run(t, Scenario{
		For: 3 * sec, Load: Load{{Rate: Constant(10), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Service: Fixed(300 * ms)}}, Client: calls("db"),
		Require: []Requirement{Latency(P99, 300*ms), Latency(P50, 300*ms)},
	})
	equal(t, "longest", r.Seconds[0].Max, 300*ms)
	equal(t, "p50 of all", r.Percentile(50), 300*ms)
}

// Between accepted a span without a whole second in it, and then required nothing.
func TestBetweenWithoutAWholeSecond(t *testing.T) {
	r := Run(t, Scenario{
		For: 5 * sec, Load: Load{{Rate: Constant(100)}}, Servers: []Server{{Name: "db"}},
		Client: func(*World) Client { return func(context.Context, *Request) error { return errors.New("no") } },
	})
	if len(r.Check(Goodput(1).Between(1100*ms, 2900*ms))) == 0 {
		t.Error("every request failed, and Goodput(1) holds")
	}
	if len(r.Check(Goodput(1).Between(1100*ms, 3*sec))) != 1 {
		t.Error("second 2 is a whole one")
	}
}

// Plus kept the later of two spikes only: the first belonged to the time before.
func TestPlusKeepsBothSpikes(t *testing.T) {
	run := func(l Load) *Result {
		return Run(t, Scenario{For: 60 * sec, Load: l, Client: func(w *World) Client {
			return func(_ context.Context, r *Request) error {
				if at := w.Elapsed(); at > 5*sec && at < 25*sec || at >= 25*sec && r.Index%5 == 0 {
					return errors.New("no")
				}
				return nil
			}
		}})
	}
	one := run(Load{{Rate: Spike(50, 100, 5*sec, 25*sec).Plus(Spike(0, 1, 35*sec, 36*sec))}})
	two := run(Load{{Name: "a", Rate: Spike(50, 100, 5*sec, 25*sec)}, {Name: "b", Rate: Spike(0, 1, 35*sec, 36*sec)}})
	equal(t, "recovered", one.Recovered, two.Recovered)
	equal(t, "metastable", one.Metastable, two.Metastable)
}

// Over HTTP, a server did not hear of callers that left while its own code ran, and
// counted a panic as an answer.
func TestCountsOverHTTP(t *testing.T) {
	slow := Run(t, Scenario{
		For: 10 * sec, Load: at(0, every(100*ms, 20)...),
		Servers: []Server{{Name: "api", Handle: func(*World) Client {
			return func(context.Context, *Request) error { time.Sleep(2 * sec); return nil }
		}}},
		Client: asks(http.MethodGet, sec, nil),
	})
	equal(t, "wasted", slow.Servers[0].Wasted, 20)

	panics := Run(t, Scenario{
		For: 2 * sec, Load: Load{{Rate: Constant(10), Arrivals: Paced}},
		Servers: []Server{{Name: "api", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}},
		Client:  asks(http.MethodPost, time.Hour, nil),
	})
	equal(t, "answered", panics.Servers[0].Answered, 0)
	equal(t, "failed", panics.Servers[0].Failed, 20)
}

// A call that was canceled in the instant in which it was made was queued and served,
// by a server that drops those.
func TestCanceledInTheInstantOfTheCall(t *testing.T) {
	r := Run(t, Scenario{
		For: 5 * sec, Load: Load{{Rate: Constant(10), Arrivals: Paced}},
		Servers: []Server{{Name: "db", Workers: 1, Service: Fixed(sec), Cancels: true}},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				ctx, cancel := context.WithCancel(ctx)
				done := make(chan error)
				go func() { done <- w.Call(ctx, "db") }()
				for range 10_000 {
					runtime.Gosched() // until it has called
				}
				cancel()
				return <-done
			}
		},
	})
	equal(t, "answered to nobody", r.Server("db").Answered, 0)
	equal(t, "waiting", r.Server("db").Waiting, 0)
}

// A hang and a restart did not reach a server's own code, which answered in the midst
// of the one and went on calling others after the other.
func TestFaultsReachTheServersOwnCode(t *testing.T) {
	var ended time.Duration
	Run(t, Scenario{
		For: 12 * sec, Load: at(0, 500*ms),
		Servers: []Server{{Name: "api", Handle: func(*World) Client {
			return func(context.Context, *Request) error { time.Sleep(2 * sec); return nil }
		}}},
		Faults: []Fault{{Server: "api", From: sec, To: 10 * sec, Hang: true}},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				err := w.Call(ctx, "api")
				ended = w.Elapsed()
				return err
			}
		},
	})
	if ended < 10*sec {
		t.Errorf("ended at %v, in a hang from 1s to 10s", ended)
	}

	r := Run(t, Scenario{
		For: 12 * sec, Load: at(0, 500*ms),
		Servers: []Server{{Name: "api", Handle: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				for range 10 {
					_ = w.Call(ctx, "db")
					select {
					case <-time.After(sec):
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			}
		}}, {Name: "db"}},
		Faults: []Fault{{Server: "api", From: 2 * sec, To: 11 * sec, Restart: true}},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				err := w.Call(ctx, "api")
				time.Sleep(11 * sec)
				return err
			}
		},
	})
	late := 0
	for i := 2; i < 11; i++ {
		late += r.Server("db").Seconds[i].Attempts
	}
	equal(t, "calls of a process that is dead", late, 0)
}

// With a Cache, a Handler was not asked where the key was there, and the client got a
// body that it never wrote.
func TestHandlerAnswersHitsToo(t *testing.T) {
	bodies := map[string]int{}
	Run(t, Scenario{
		For: 2 * sec, Load: Load{{Rate: Constant(10), Arrivals: Paced}},
		Servers: []Server{{Name: "api", Service: Fixed(10 * ms), Cache: Cache{Keys: 10}, Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, "left: 12")
		})}},
		Client: asks(http.MethodGet, time.Hour, func(body []byte) { bodies[string(body)]++ }),
	})
	equal(t, "bodies", fmt.Sprint(bodies), "map[left: 12:20]")
}

// What nobody calls, and a rate that is none for an instant, were accepted; the name of
// the only class was not.
func TestScenariosOfNothing(t *testing.T) {
	nan := Spike(1, 1, 505*ms, 506*ms).Plus(Rate{at: func(at time.Duration) float64 {
		if at == 505*ms {
			return -10
		}
		return 0
	}})
	for name, load := range map[string]Load{
		"no starts": {{At: []time.Duration{}}}, "late starts": {{At: []time.Duration{2 * sec}}}, "an instant": {{Rate: nan}},
	} {
		if err := (Scenario{For: sec, Load: load, Servers: []Server{{Name: "db"}}, Client: calls("db")}).Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	Run(t, Scenario{For: sec, Load: Load{{Rate: Constant(10)}}, Servers: []Server{{Name: "db"}}, Client: calls("db"),
		Require: []Requirement{Goodput(1).Of("all")}})
}

// ANTAGONIST_REPORT left nothing where go test knew the result already, and one file
// for the tests of two packages that have the same name.
func TestReportsOfAllPackages(t *testing.T) {
	dir := t.TempDir()
	for _, report := range []string{"", dir} {
		test := exec.CommandContext(t.Context(), "go", "test", "./testdata/reports/one", "./testdata/reports/two")
		test.Env = append(os.Environ(), "ANTAGONIST_REPORT="+report)
		if out, err := test.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	reports, err := filepath.Glob(filepath.Join(dir, "github.com/crumplezone/stability/antagonist/testdata/reports/*/TestFriday.html"))
	if err != nil || len(reports) != 2 {
		t.Errorf("%v, %v", reports, err)
	}
}
