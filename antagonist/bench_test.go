package antagonist

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// simulating runs a scenario once for each iteration. A bubble needs a test,
// which a benchmark is not.
func simulating(b *testing.B, s Scenario) {
	b.Helper()
	b.ReportAllocs()
	offered := 0
	for b.Loop() {
		done := false
		ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{
			Name: "scenario",
			F: func(t *testing.T) {
				if !done { // it runs once for each value of -cpu
					offered += simulate(t, s.withDefaults()).Offered
				}
				done = true
			},
		}})
		if !ok {
			b.Fatal("the scenario failed")
		}
	}
	b.ReportMetric(float64(offered)/b.Elapsed().Seconds(), "requests/s")
}

// minute is sixty seconds at a thousand requests a second, with service times
// of 50ms in the mean, timeouts and up to three tries with jittered pauses,
// while the server is slow for a while.
func minute() Scenario {
	return Scenario{
		For:     time.Minute,
		Seed:    1,
		Load:    Load{{Rate: Constant(1000), Patience: 2 * sec}},
		Servers: []Server{{Name: "db", Workers: 70, Service: Exponential(50 * ms), Queue: Queue{Max: 200}}},
		Faults:  []Fault{{Server: "db", From: 20 * sec, To: 25 * sec, Slow: 3}},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) (err error) {
				for try := range 3 {
					attempt, cancel := context.WithTimeout(ctx, 250*ms)
					err = w.Call(attempt, "db")
					cancel()
					if err == nil || try == 2 {
						break
					}
					if err := sleep(ctx, w.Jitter(100*ms)); err != nil {
						return err
					}
				}
				return err
			}
		},
	}
}

func BenchmarkMinute(b *testing.B) { simulating(b, minute()) }

func BenchmarkMinuteOverHTTP(b *testing.B) {
	s := minute()
	s.Servers[0].Handler = hello(1000)
	s.Client = func(w *World) Client {
		transport := w.Transport()
		transport.MaxIdleConnsPerHost = 100
		client := &http.Client{Transport: transport, Timeout: 250 * ms}
		return func(ctx context.Context, _ *Request) error { return get(ctx, client, "http://db/") }
	}
	simulating(b, s)
}
