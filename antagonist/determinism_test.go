package antagonist

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// fingerprint is everything that a seed determines.
func fingerprint(r *Result) string {
	text := fmt.Sprint(r.Counts, r.Series.InFlight, r.Recovered, r.RecoveredAfter, r.Metastable)
	for _, s := range append([]Series{r.Series}, r.Classes...) {
		for _, second := range s.Seconds {
			second.Goroutines = 0 // measured in the process
			text += fmt.Sprint(second)
		}
	}
	for _, s := range r.Servers {
		text += fmt.Sprint(s.Name, s.Seconds, s.ServerSecond)
	}
	return text
}

// A chain is shared by all requests, and its value depends on the order in
// which they come by.
type chain struct {
	mu    sync.Mutex
	value uint64
}

func (c *chain) add(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = mix(c.value, n)
}

// hostile is a scenario in which everything that can coincide does: starts,
// service times, timeouts and pauses are all whole milliseconds. Its client
// keeps a chain of every step of every request.
func hostile(seed uint64, order *chain) Scenario {
	return Scenario{
		For:  3 * sec,
		Seed: seed,
		Load: Load{
			{Name: "paced", Rate: Constant(50), Arrivals: Paced, Patience: 110 * ms}, // two tries and a pause
			{Name: "again", Rate: Constant(50), Arrivals: Paced},
			{Name: "poisson", Rate: Spike(20, 80, 1*sec, 2*sec), Patience: 300 * ms},
		},
		Servers: []Server{
			{Name: "front", Workers: 6, Service: Fixed(10 * ms), Handle: calls("back")},
			{Name: "back", Workers: 4, Service: Fixed(20*ms).Stragglers(0.1, 5), Queue: Queue{Max: 10}},
		},
		Faults: []Fault{
			{Server: "back", From: 1 * sec, To: 1500 * ms, Hang: true, Share: 0.5},
			{Server: "back", From: 1800 * ms, To: 2 * sec, Restart: true},
			{Server: "front", From: 2500 * ms, To: 3 * sec, Fail: true, Share: 0.3},
		},
		Client: func(w *World) Client {
			return func(ctx context.Context, r *Request) (err error) {
				for try := range uint64(3) {
					order.add(r.id<<2 | try)
					attempt, cancel := context.WithTimeout(ctx, 50*ms)
					err = w.Call(attempt, "front")
					cancel()
					if err == nil {
						break
					}
					order.add(r.id)
					pause := time.NewTimer(10*ms + time.Duration(r.Rand().IntN(3))*10*ms)
					select {
					case <-pause.C:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				order.add(r.id)
				return err
			}
		},
	}
}

func TestSameSeedSameNumbers(t *testing.T) {
	const runs = 100
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var first string
	for i := range runs {
		runtime.GOMAXPROCS(1 + i%4)
		order := &chain{}
		got := fingerprint(Run(t, hostile(7, order))) + fmt.Sprint(order.value)
		switch {
		case i == 0:
			first = got
		case got != first:
			t.Fatalf("run %d of the same seed differs from the first:\n%s\n%s", i, got, first)
		}
	}
	order := &chain{}
	if other := fingerprint(Run(t, hostile(8, order))); other == first {
		t.Error("another seed gives the same numbers")
	}
}

func TestSameSeedSameNumbersOverHTTP(t *testing.T) {
	run := func() string {
		order := &chain{}
		r := Run(t, Scenario{
			For:  3 * sec,
			Seed: 3,
			Load: Load{{Rate: Constant(60), Arrivals: Paced, Patience: 400 * ms}},
			Servers: []Server{
				{Name: "shop", Workers: 10, Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(rw, "hello")
				}), Service: Exponential(20 * ms)},
			},
			Faults: []Fault{
				{Server: "shop", From: 1 * sec, To: 1200 * ms, Refuse: true},
				{Server: "shop", From: 1500 * ms, To: 1700 * ms, Cut: true, Share: 0.5},
				{Server: "shop", From: 2 * sec, To: 2100 * ms, Restart: true},
			},
			Client: func(w *World) Client {
				client := &http.Client{Transport: w.Transport()}
				return func(ctx context.Context, r *Request) error {
					defer order.add(r.id)
					return get(ctx, client, "http://shop/")
				}
			},
		})
		return fingerprint(r) + fmt.Sprint(order.value)
	}
	first := run()
	for i := range 20 {
		if got := run(); got != first {
			t.Fatalf("run %d of the same seed differs from the first:\n%s\n%s", i+1, got, first)
		}
	}
}

// Variants see the same requests, and the same call of a request takes the same
// time in each.
func TestVariantsShareTheirDraws(t *testing.T) {
	rs := Compare(t, Scenario{
		For:     5 * sec,
		Load:    Load{{Rate: Constant(100)}},
		Servers: []Server{{Name: "a", Service: Exponential(50 * ms)}, {Name: "b", Service: Exponential(5 * ms)}},
	},
		Variant{Name: "a", Client: calls("a")},
		Variant{Name: "b first", Change: func(s *Scenario) { s.Load = s.Load.Times(1) }, Client: func(w *World) Client {
			return func(ctx context.Context, r *Request) error {
				_ = r.Rand().Uint64()
				_ = w.Rand().Uint64()
				return w.Call(ctx, "a")
			}
		}},
	)
	equal(t, "fingerprint", fingerprint(rs[1]), fingerprint(rs[0]))
}

func TestJitter(t *testing.T) {
	draw := func(seed uint64) (drawn []time.Duration) {
		Run(t, Scenario{
			For:  sec,
			Seed: seed,
			Load: at(0, 0),
			Client: func(w *World) Client {
				return func(context.Context, *Request) error {
					for _, longest := range []time.Duration{math.MinInt64, -1, 0, 1, 2, ms, math.MaxInt64} {
						for range 100 {
							d := w.Jitter(longest)
							if d < 0 || d > max(longest, 0) {
								t.Errorf("%v of %v", d, longest)
							}
							drawn = append(drawn, d)
						}
					}
					return nil
				}
			},
		})
		return drawn
	}
	first := draw(1)
	equal(t, "both ends of 0 to 1", slices.Contains(first[300:400], 0) && slices.Contains(first[300:400], 1), true)
	equal(t, "the same seed draws the same", slices.Equal(draw(1), first), true)
	equal(t, "another draws others", slices.Equal(draw(2), first), false)
}
