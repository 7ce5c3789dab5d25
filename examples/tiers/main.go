// Tiers sends requests through A and B to C, over HTTP, and counts what C gets: while C
// fails, with and without marks of the attempts and budgets for the retries; and
// while C is overloaded, with and without the deadline that travels along.
//
//	go run ./examples/tiers
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tiers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	if err := failing(ctx, w); err != nil {
		return err
	}
	return overloaded(ctx, w)
}

// failing counts the calls at a C that answers 503.
func failing(ctx context.Context, w io.Writer) error {
	const requests, attempts = 50, 3
	bare := stabilityhttp.TransportConfig{
		Off:   stabilityhttp.PartBreaker, // which would hide what the retries do
		Retry: retry.Config{Attempts: attempts, Base: time.Millisecond, Budget: retry.Unlimited()},
	}
	budgeted := bare
	budgeted.Retry.Budget = nil // the default, for each client its own
	rows := []struct {
		how  string
		most int64
		hops hops
	}{
		{"every tier retries", requests * attempts * attempts * attempts, hops{client: bare}},
		{"attempts are marked", requests * attempts, hops{client: bare, guarded: true}},
		{"and retries have a budget", requests + requests/5 + 10, hops{client: budgeted, guarded: true}},
	}

	fmt.Fprintf(w, "%d requests through A and B to C, which fails:\n\n", requests)
	fmt.Fprintf(w, "  %-27s %10s  %s\n", "", "calls at C", "per request")
	for _, row := range rows {
		var calls atomic.Int64
		row.hops.leaf = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		row.hops.send(ctx, requests, http.MethodGet, "")
		n := calls.Load()
		fmt.Fprintf(w, "  %-27s %10d  %.1f\n", row.how, n, float64(n)/requests)
		if n < requests || n > row.most {
			return fmt.Errorf("%s: %d calls at C, and not %d to %d", row.how, n, requests, row.most)
		}
	}
	return nil
}

// overloaded counts the work of a C that has more to do than its callers wait for. The
// requests have bodies: a server of HTTP/1.1 does not see that the client of such a
// one has gone while it waits for its turn.
func overloaded(ctx context.Context, w io.Writer) error {
	const requests, work, patience = 12, 60 * time.Millisecond, 200 * time.Millisecond
	var wasted [2]int64
	fmt.Fprintf(w, "\n%d requests at once through A and B to C, which takes %v for each, one at a time; nobody waits longer than %v:\n\n",
		requests, work, patience)
	fmt.Fprintf(w, "  %-27s %10s  %s\n", "", "done by C", "for nobody")
	for i, how := range []string{"without the deadline", "the deadline travels along"} {
		var done atomic.Int64
		h := hops{guarded: true, client: stabilityhttp.TransportConfig{Timeout: 10 * time.Second}}
		if i == 0 {
			h.client.Off = stabilityhttp.PartDeadlineHeader
		}
		turns := bulkhead.New(bulkhead.Config{Name: "C", Limit: 1, Queue: requests, MaxWait: 10 * time.Second})
		h.leaf = stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(work) // a computation that does not look at its context
			done.Add(1)
		}), stabilityhttp.HandlerConfig{Bulkhead: turns})
		h.patience = patience
		answered := h.send(ctx, requests, http.MethodPost, "an order")
		wasted[i] = done.Load() - answered
		fmt.Fprintf(w, "  %-27s %10d  %d\n", how, done.Load(), wasted[i])
	}
	if wasted[1] >= wasted[0] {
		return fmt.Errorf("%d calls for nobody without the deadline, and %d with it", wasted[0], wasted[1])
	}
	return nil
}
