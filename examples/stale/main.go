// Stale shows prices while the service that knows them is down: the last good price
// where there is one that is not too old, something else where there is none, and
// both marked as what they are.
//
//	go run ./examples/stale
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	var down atomic.Bool
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "19.99")
	}))
	defer service.Close()
	shop := newShop(service.URL)
	defer shop.client.CloseIdleConnections()

	steps := []struct {
		before        func()
		product, mark string
		requests      int64
	}{
		{nil, "umbrella", fresh, 1},
		{func() { down.Store(true) }, "umbrella", stale, 1},
		{nil, "umbrella", stale, 1},
		{nil, "kettle", instead, 1},
		{nil, "umbrella", stale, 0}, // the breaker is open
		{nil, "kettle", instead, 0},
		{func() { down.Store(false); time.Sleep(openFor) }, "umbrella", fresh, 1},
		{nil, "kettle", fresh, 1},
	}
	fmt.Fprintf(w, "%-8s  %-9s %-6s  %-8s %7s  %-8s %s\n", "service", "product", "price", "", "age", "requests", "because of")
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		asked.Store(0)
		price, degraded, err := shop.price(ctx, step.product)
		if err != nil {
			return err
		}
		health := "up"
		if down.Load() {
			health = "down"
		}
		mark, age, cause := describe(degraded)
		fmt.Fprintf(w, "%-8s  %-9s %-6s  %-8s %7s  %-8d %s\n", health, step.product, price, mark, age, asked.Load(), cause)
		if mark != step.mark || asked.Load() != step.requests {
			return fmt.Errorf("%s: %s with %d requests, and not %s with %d", step.product, mark, asked.Load(), step.mark, step.requests)
		}
	}
	return nil
}

// How a price is marked.
const (
	fresh   = "fresh"
	stale   = "stale"
	instead = "instead"
)

func describe(d *stability.Degraded) (mark, age, cause string) {
	switch {
	case d == nil:
		return fresh, "", ""
	case d.Age > 0:
		return stale, d.Age.Round(10 * time.Microsecond).String(), d.Cause.Error()
	}
	return instead, "", d.Cause.Error()
}
