// Package users shows visitors who cost more than they bring, and what they leave
// for those who pay.
package users

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "users",
	Title:   "Users",
	Story:   "A few customers shop. Then six price scrapers come that ask for one page after another, take no cookies, and are given a new session for each. The server has not the workers for them all.",
	Guard:   "a rate limit for each client",
	Want:    scene.Requirement{Text: "customers' pages answered within a second while scrapers are about", Unit: "%", AtLeast: 90},
	Plot:    scene.Plot{Title: "Customers' pages answered within a second", Unit: "%", Bound: true},
	Program: program,
}

const (
	workers     = 4
	work        = 40 * time.Millisecond // so that the server does 100 pages a second
	customers   = 20
	scrapers    = 6
	scrape      = 40 // pages a second that each scraper asks for
	scrapeFrom  = 0.25
	sessionSize = 32 << 10
)

func program(s *scene.Stage) (m scene.Measured, err error) {
	var kept sessions
	pages := scene.Workers(workers, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("session"); err != nil {
			kept.add() // for half an hour, for somebody who never comes back for it
		}
		time.Sleep(work)
		fmt.Fprint(w, "A lamp: 40.")
	}))
	if s.Guarded {
		pages = guard(pages)
	}
	shop, err := s.Serve(pages)
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	visit := func(ctx context.Context, client string, session bool) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, shop.URL, nil)
		if err != nil {
			return err
		}
		req.Header.Set(clientHeader, client)
		if session {
			req.Header.Set("Cookie", "session=of-a-customer")
		}
		_, err = scene.Do(visitors, req)
		return err
	}
	answers := s.Play(
		scene.Load{Rate: customers, Visit: func(ctx context.Context, n int) error {
			return visit(ctx, fmt.Sprintf("customer %d", n%50), true)
		}},
		scene.Load{Rate: scrapers * scrape, From: scrapeFrom, Patience: 3 * time.Second, Visit: func(ctx context.Context, n int) error {
			return visit(ctx, fmt.Sprintf("scraper %d", n%scrapers), false)
		}})
	beside := answers[0].Between(s.At(scrapeFrom), s.Length)
	m.Figure = beside.Percent()
	m.Series = s.PercentSeries(answers[0])
	m.Note("customers' pages answered while scrapers were about: %v", beside)
	m.Note("memory that sessions of scrapers hold: %.1f MB", float64(kept.size())/1e6)
	return m, nil
}

// sessions are those of visitors, with what they have looked at.
type sessions struct {
	mu   sync.Mutex
	kept [][]byte
}

func (s *sessions) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, make([]byte, sessionSize))
}

func (s *sessions) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept) * sessionSize
}

// clientHeader says who asks. All of this scene's visitors have one address; a
// server in the world uses that, as stabilityhttp.ClientIP does, or an account.
const clientHeader = "Antipatterns-Client"

// guard gives every client four pages a second.
func guard(h http.Handler) http.Handler {
	return stabilityhttp.NewHandler(h, stabilityhttp.HandlerConfig{
		RateLimit: ratelimit.NewGroup(ratelimit.Config{Name: "client", Rate: 4, Burst: 4}, stability.Keys{Max: 10_000}),
		Client:    func(r *http.Request) string { return r.Header.Get(clientHeader) },
	})
}
