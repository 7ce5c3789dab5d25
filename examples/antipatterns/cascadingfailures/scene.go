// Package cascadingfailures shows how a failure climbs from layer to layer until
// it takes down what never needed the part that failed.
package cascadingfailures

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "cascadingfailures",
	Title:   "Cascading failures",
	Story:   "The front calls orders, orders call inventory. After a while inventory hangs: first orders have all their workers waiting for it, then the front for orders, and then nobody can read the news either, which need neither.",
	Guard:   "time limits, a bulkhead and a breaker on each call to the layer below",
	Want:    scene.Requirement{Text: "pages that need no other layer, answered within a second while inventory hangs", Unit: "%", AtLeast: 90},
	Plot:    scene.Plot{Title: "Pages that need no other layer, answered within a second", Unit: "%", Bound: true},
	Program: program,
}

// Inventory hangs from this share of the run on.
const hangFrom = 0.2

func program(s *scene.Stage) (m scene.Measured, err error) {
	inventory, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.During(hangFrom, 1) {
			s.Pause(time.Hour)
		}
		fmt.Fprint(w, "3 in stock")
	}))
	if err != nil {
		return m, err
	}
	toInventory, closeInventory := client(s, "inventory", 200*time.Millisecond)
	defer closeInventory()
	orders, err := s.Serve(scene.Workers(8, below(toInventory, inventory.URL)))
	if err != nil {
		return m, err
	}
	toOrders, closeOrders := client(s, "orders", 400*time.Millisecond)
	defer closeOrders()
	pages := http.NewServeMux()
	pages.Handle("/order", below(toOrders, orders.URL))
	pages.HandleFunc("/news", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "We are well.") })
	front, err := s.Serve(scene.Workers(16, pages))
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	visit := func(path string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			_, err := scene.Fetch(ctx, visitors, front.URL+path)
			return err
		}
	}
	answers := s.Play(scene.Load{Rate: 60, Visit: visit("/news")}, scene.Load{Rate: 60, Visit: visit("/order")})
	news := answers[0].Between(s.At(hangFrom), s.Length)
	m.Figure = news.Percent()
	m.Series = s.PercentSeries(answers[0])
	m.Note("news read while inventory hung: %v", news)
	return m, nil
}

// client is what a layer calls the one below with: the default one, or one that
// bounds how long and how often it waits.
func client(s *scene.Stage, name string, within time.Duration) (c *http.Client, done func()) {
	if !s.Guarded {
		return http.DefaultClient, func() {}
	}
	c = guardedClient(name, within)
	return c, c.CloseIdleConnections
}

func guardedClient(name string, within time.Duration) *http.Client {
	return stabilityhttp.NewClient(stabilityhttp.TransportConfig{
		Name:     name,
		Timeout:  within,
		Bulkhead: bulkhead.Config{Limit: 12},
		Breaker:  breaker.Config{Consecutive: 10, OpenFor: 250 * time.Millisecond, MaxOpenFor: 500 * time.Millisecond},
	})
}

// below answers with what the layer below answers. It waits for it whether or not
// anybody still waits here: the context of the request is not passed on, which is
// what most layers forget.
func below(client *http.Client, url string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := scene.Fetch(context.WithoutCancel(r.Context()), client, url)
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
		fmt.Fprintf(w, "%s", answer)
	})
}
