// Package slowresponses shows why a slow answer is worse than none.
package slowresponses

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "slowresponses",
	Title:   "Slow responses",
	Story:   "A page shows ratings. For half of the run these come after more than two seconds: right, each of them, and too late. Visitors who see nothing press reload, and the slow service has three times the work.",
	Guard:   "a timeout, a breaker that counts slow calls, and yesterday's ratings in their place",
	Want:    scene.Requirement{Text: "pages complete within a second while ratings are slow", Unit: "%", AtLeast: 90},
	Plot:    scene.Plot{Title: "Pages complete within a second", Unit: "%", Bound: true},
	Program: program,
}

const (
	slowFrom, slowTo = 0.25, 0.75
	slow             = 2500 * time.Millisecond
	patience         = time.Second
)

func program(s *scene.Stage) (m scene.Measured, err error) {
	var atRatings scene.Gauge
	ratings, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		atRatings.Add(1)
		defer atRatings.Add(-1)
		if s.During(slowFrom, slowTo) {
			s.Pause(slow)
		}
		fmt.Fprint(w, "four stars")
	}))
	if err != nil {
		return m, err
	}
	p := &shop{ratings: ratings.URL, client: s.Visitors()}
	if s.Guarded {
		p.guards, p.instead = guard()
	}
	pages, err := s.Serve(p)
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: 60, Patience: patience, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, pages.URL)
		for range 2 { // The visitor reloads the page, twice, and stays no longer for it.
			if ctx.Err() != nil {
				again, cancel := context.WithTimeout(s.Context(), patience)
				_, _ = scene.Fetch(again, visitors, pages.URL)
				cancel()
			}
		}
		return err
	}})[0]
	during := answers.Between(s.At(slowFrom), s.At(slowTo))
	m.Figure = during.Percent()
	m.Series = s.PercentSeries(answers)
	m.Note("pages complete while ratings were slow: %v", during)
	m.Note("most requests that ratings had at the same time: %.0f", atRatings.Peak())
	return m, nil
}

// A shop shows ratings on its pages.
type shop struct {
	ratings string
	client  *http.Client
	guards  stability.Policy   // nil calls unguarded
	instead *fallback.Fallback // nil has nothing to show instead
}

// guard gives a call a quarter of a second. Where most are slower than half of that
// it makes none for a while, and lets the service recover.
func guard() (stability.Policy, *fallback.Fallback) {
	return stability.Chain(
		breaker.New(breaker.Config{Name: "ratings", SlowCall: 125 * time.Millisecond, SlowRatio: 0.5, Window: time.Second, OpenFor: 250 * time.Millisecond, MaxOpenFor: 500 * time.Millisecond}),
		timeout.New(timeout.Config{Name: "ratings", After: 250 * time.Millisecond}),
	), fallback.New(fallback.Config{Name: "ratings"})
}

func (p *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rating, err := p.rating(r.Context())
	if err != nil {
		stabilityhttp.ErrorHandler(w, r, err)
		return
	}
	fmt.Fprintf(w, "A fine lamp. Rated %s.", rating)
}

func (p *shop) rating(ctx context.Context) (string, error) {
	if p.guards == nil {
		return p.fetch(context.WithoutCancel(ctx)) // goes on for a visitor who has left
	}
	rating, _, err := fallback.Do(ctx, p.instead,
		func(ctx context.Context) (string, error) { return stability.Do(ctx, p.guards, p.fetch) },
		func(context.Context, error) (string, error) { return "four stars, yesterday", nil })
	return rating, err
}

func (p *shop) fetch(ctx context.Context) (string, error) {
	rating, err := scene.Fetch(ctx, p.client, p.ratings)
	return string(rating), err
}
