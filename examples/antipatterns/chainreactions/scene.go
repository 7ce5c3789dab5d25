// Package chainreactions shows how the servers of a farm go down one after the
// other, each under the load of those before it.
package chainreactions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "chainreactions",
	Title:   "Chain reactions",
	Story:   "Four servers share a load that three cannot carry. Each runs out of memory and dies once it has too many requests on its hands. One is lost to something else, and the others take over its share.",
	Guard:   "a bulkhead in each server that refuses what is too much for it",
	Want:    scene.Requirement{Text: "servers still up at the end, of four of which one was lost", AtLeast: 3},
	Plot:    scene.Plot{Title: "Servers that are up", Bound: true},
	Program: program,
}

const (
	servers  = 4
	workers  = 2
	work     = 30 * time.Millisecond // so that four servers do 266 requests a second, and three 200
	rate     = 240
	memory   = 14 // requests that a server has room for; one more kills it
	lostFrom = 0.25
)

// A server has a few workers, and no limit to what it accepts.
type server struct {
	http     *scene.Server
	workers  http.Handler
	requests atomic.Int64
	dead     atomic.Bool
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	farm := make([]*server, servers)
	for i := range farm {
		if farm[i], err = start(s); err != nil {
			return m, err
		}
	}
	s.Go(func() {
		if s.Until(lostFrom) {
			farm[0].die() // of something that is not the load's fault
		}
	})

	up := s.Watch(func() float64 { return float64(alive(farm)) })
	visitors := s.Visitors()
	pages := s.Play(scene.Load{Rate: rate, Visit: func(ctx context.Context, n int) error {
		return balance(ctx, visitors, farm, n)
	}})[0]
	m.Figure = float64(alive(farm))
	m.Series = up()
	m.Note("pages answered after the first server was lost: %v", pages.Between(s.At(lostFrom), s.Length))
	return m, nil
}

func start(s *scene.Stage) (srv *server, err error) {
	srv = &server{}
	srv.workers = scene.Workers(workers, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(work)
		fmt.Fprint(w, "done")
	}))
	var h http.Handler = srv
	if s.Guarded {
		h = guard(srv)
	}
	srv.http, err = s.Serve(h)
	return srv, err
}

// guard lets in what the workers do and a few more, and answers the rest with 503
// and Retry-After before it costs anything.
func guard(h http.Handler) http.Handler {
	return stabilityhttp.NewHandler(h, stabilityhttp.HandlerConfig{
		Bulkhead: bulkhead.New(bulkhead.Config{Name: "server", Limit: workers, Queue: 6}),
	})
}

func (srv *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer srv.requests.Add(-1)
	if srv.requests.Add(1) > memory {
		srv.die()
		return
	}
	srv.workers.ServeHTTP(w, r)
}

func (srv *server) die() {
	srv.dead.Store(true)
	srv.http.Close()
}

func alive(farm []*server) int {
	n := 0
	for _, srv := range farm {
		if !srv.dead.Load() {
			n++
		}
	}
	return n
}

// balance sends the n-th request to a server that is up, all in turn.
func balance(ctx context.Context, client *http.Client, farm []*server, n int) error {
	var up []*server
	for _, srv := range farm {
		if !srv.dead.Load() {
			up = append(up, srv)
		}
	}
	if len(up) == 0 {
		return errors.New("no server is up")
	}
	_, err := scene.Fetch(ctx, client, up[n%len(up)].http.URL)
	return err
}
