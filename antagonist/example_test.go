package antagonist_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/crumplezone/stability/antagonist"
)

func TestExampleFriday(t *testing.T) {
	antagonist.Run(t, antagonist.Scenario{
		For:  20 * time.Second,
		Load: antagonist.Load{{Rate: antagonist.Constant(500), Patience: time.Second}}.Times(2),
		Servers: []antagonist.Server{{
			Name: "payments", Workers: 60, Service: antagonist.Exponential(40 * time.Millisecond),
		}},
		Client: func(w *antagonist.World) antagonist.Client {
			return func(ctx context.Context, _ *antagonist.Request) error {
				ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
				return w.Call(ctx, "payments")
			}
		},
		Require: []antagonist.Requirement{
			antagonist.Goodput(0.99),
			antagonist.Latency(antagonist.P99, 300*time.Millisecond),
		},
	})
}

// attempts is a client that makes up to n calls, each with a timeout.
func attempts(n int) func(*antagonist.World) antagonist.Client {
	return func(w *antagonist.World) antagonist.Client {
		return func(ctx context.Context, _ *antagonist.Request) (err error) {
			for range n {
				attempt, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
				err = w.Call(attempt, "payments")
				cancel()
				if err == nil {
					return nil
				}
			}
			return err
		}
	}
}

func TestExampleCompare(t *testing.T) {
	antagonist.Compare(t, antagonist.Scenario{
		For:  time.Minute,
		Seed: 1,
		Load: antagonist.Load{{Rate: antagonist.Constant(200), Patience: time.Second}},
		Servers: []antagonist.Server{{
			Name: "payments", Workers: 15, Service: antagonist.Exponential(50 * time.Millisecond),
		}},
		Faults: []antagonist.Fault{
			{Server: "payments", From: 20 * time.Second, To: 25 * time.Second, Slow: 3},
		},
	},
		antagonist.Variant{Name: "one try", Client: attempts(1), Require: []antagonist.Requirement{
			antagonist.RecoversWithin(20 * time.Second),
		}},
		antagonist.Variant{Name: "three tries", Client: attempts(3), Require: []antagonist.Requirement{
			antagonist.That("stays down", func(r *antagonist.Result) error {
				if !r.Metastable {
					return fmt.Errorf("it recovered after %v", r.RecoveredAfter)
				}
				return nil
			}),
		}},
	)
}

// A Shop is a service's own client, which knows nothing of tests.
type Shop struct {
	HTTP *http.Client
	URL  string
}

// Stock asks how many of an article are left.
func (s *Shop) Stock(ctx context.Context, article string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/stock/"+article, nil)
	if err != nil {
		return "", err
	}
	response, err := s.HTTP.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("stock of %s: %s", article, response.Status)
	}
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestExampleHTTP(t *testing.T) {
	stock := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(rw, "12 left")
	})
	antagonist.Run(t, antagonist.Scenario{
		For:  30 * time.Second,
		Load: antagonist.Load{{Rate: antagonist.Constant(100)}},
		Servers: []antagonist.Server{{
			Name: "inventory", Workers: 20, Service: antagonist.Exponential(30 * time.Millisecond),
			Handler: stock,
		}},
		Faults: []antagonist.Fault{
			{Server: "inventory", From: 10 * time.Second, To: 12 * time.Second, Restart: true},
		},
		Client: func(w *antagonist.World) antagonist.Client {
			shop := &Shop{HTTP: &http.Client{Transport: w.Transport(), Timeout: time.Second}, URL: "http://inventory"}
			return func(ctx context.Context, r *antagonist.Request) error {
				_, err := shop.Stock(ctx, fmt.Sprint(r.Index%100))
				return err
			}
		},
		Require: []antagonist.Requirement{
			antagonist.Goodput(0.999).Between(0, 9*time.Second),
			antagonist.RecoversWithin(time.Second),
		},
	})
}

func TestExampleNumbers(t *testing.T) {
	antagonist.Run(t, antagonist.Scenario{
		For: time.Minute,
		Load: antagonist.Load{
			// Last Friday's requests per second, one figure for every ten
			// seconds, and half as many again.
			{Name: "browse", Rate: antagonist.Trace(10*time.Second, 120, 130, 180, 260, 240, 150).Times(1.5), Patience: 3 * time.Second},
			{Name: "checkout", Rate: antagonist.Constant(20), Patience: 10 * time.Second},
		},
		Servers: []antagonist.Server{{
			Name:    "db",
			Workers: 40, // the size of the connection pool
			// p50 and p99 of the query, measured in the database, on a quiet
			// morning.
			Service: antagonist.LogNormal(20*time.Millisecond, 150*time.Millisecond),
			Queue:   antagonist.Queue{Max: 400},
		}},
		Client: func(w *antagonist.World) antagonist.Client {
			return func(ctx context.Context, _ *antagonist.Request) error { return w.Call(ctx, "db") }
		},
		Require: []antagonist.Requirement{
			antagonist.Goodput(0.999).Of("checkout"),
			antagonist.NeverMoreThan(200, antagonist.Waiting("db")),
		},
	})
}
