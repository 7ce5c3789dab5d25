// Package slainversion shows a promise that nobody who is needed for it has made.
package slainversion

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "slainversion",
	Title:   "SLA inversion",
	Story:   "A shop promises that nearly all of its pages come. Each needs six services, and each of these fails one call in twenty, which is all that it ever promised: six in a row hold for three pages in four.",
	Guard:   "retries within a budget for the two that a page must have, a stand-in for the four that it can do without",
	Want:    scene.Requirement{Text: "pages answered", Unit: "%", AtLeast: 97},
	Plot:    scene.Plot{Title: "Pages answered", Unit: "%", Bound: true},
	Program: program,
}

// failing is the share of calls that each service fails.
const failing = 0.05

// services are what a page is made of, and whether there is a page without it.
var services = []struct {
	name      string
	essential bool
}{
	{"catalogue", true},
	{"prices", true},
	{"ratings", false},
	{"recommendations", false},
	{"stock", false},
	{"weather", false},
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	p := &shop{client: s.Visitors(), urls: map[string]string{}}
	for _, svc := range services {
		srv, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if rand.Float64() < failing {
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprint(w, svc.name)
		}))
		if err != nil {
			return m, err
		}
		p.urls[svc.name] = srv.URL
	}
	if s.Guarded {
		p.essential, p.optional = guard()
	}
	pages, err := s.Serve(p)
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: 60, Patience: 5 * time.Second, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, pages.URL)
		return err
	}})[0]
	m.Figure = answers.Percent()
	m.Series = s.PercentSeries(answers)
	m.Note("pages answered: %v", answers)
	if p.optional != nil {
		m.Note("parts that something else stood in for: %d", p.optional.Stats().Degraded)
	}
	return m, nil
}

// A shop makes its pages of what the services answer.
type shop struct {
	client    *http.Client
	urls      map[string]string
	essential stability.Policy   // nil calls once
	optional  *fallback.Fallback // nil has nothing to show instead
}

// guard calls what a page must have up to four times, each within a second,
// as long as no more than a fifth of all calls are repeated.
func guard() (stability.Policy, *fallback.Fallback) {
	return stability.Chain(
		retry.New(retry.Config{Name: "essential", Attempts: 4, Base: 10 * time.Millisecond}),
		timeout.New(timeout.Config{Name: "essential", After: time.Second}),
	), fallback.New(fallback.Config{Name: "optional"})
}

func (p *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page []string
	for _, svc := range services {
		part, err := p.part(r.Context(), svc.name, svc.essential)
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
		page = append(page, part)
	}
	fmt.Fprintln(w, strings.Join(page, "\n"))
}

func (p *shop) part(ctx context.Context, service string, essential bool) (string, error) {
	fetch := func(ctx context.Context) (string, error) {
		part, err := scene.Fetch(ctx, p.client, p.urls[service])
		return string(part), err
	}
	if essential && p.essential != nil {
		return stability.Do(ctx, p.essential, fetch)
	}
	if essential {
		return fetch(ctx)
	}
	part, _, err := fallback.Do(ctx, p.optional, fetch, func(context.Context, error) (string, error) {
		return "no " + service + " today", nil
	})
	return part, err
}
