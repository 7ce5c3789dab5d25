// Package forcemultiplier shows automation that does the wrong thing faster than
// anybody can stop it.
package forcemultiplier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/ratelimit"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "forcemultiplier",
	Title:   "Force multiplier",
	Story:   "A controller asks each of twelve servers how it is, and replaces those that do not answer; a new one takes a while to start. Then the network between the controller and the servers is down, and nothing else is. It believes that all are dead.",
	Guard:   "a governor on what does harm: servers may be stopped only so fast",
	Want:    scene.Requirement{Text: "servers in service at the worst moment, of twelve", AtLeast: 8},
	Plot:    scene.Plot{Title: "Servers in service", Bound: true},
	Program: program,
}

const (
	servers          = 12
	startup          = 0.3 // share of the run that a new server takes to start
	stopsPerRun      = 6   // what the governor lets happen, evenly over a run
	blindFrom, blind = 0.25, 0.55
	every            = 50 * time.Millisecond // from one look at all servers to the next
)

// A fleet is the servers in service.
type fleet struct {
	s *scene.Stage

	mu    sync.Mutex
	up    []*scene.Server
	least int
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	f := &fleet{s: s, least: servers}
	for range servers {
		if err := f.launch(); err != nil {
			return m, err
		}
	}
	c := &controller{fleet: f, health: s.Visitors()}
	if s.Guarded {
		c.governor = governor(s.Length)
	}
	s.Go(c.run)

	up := s.Watch(func() float64 { return float64(len(f.inService())) })
	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: 100, Visit: func(ctx context.Context, n int) error {
		up := f.inService()
		if len(up) == 0 {
			return errors.New("no server is in service")
		}
		_, err := scene.Fetch(ctx, visitors, up[n%len(up)].URL)
		return err
	}})[0]
	m.Series = up()
	m.Figure = float64(f.worst())
	m.Note("pages answered: %v", answers)
	return m, nil
}

// governor lets one server be stopped now and then. Starting one is safe, and needs
// no governor.
func governor(run time.Duration) *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Config{Name: "stop a server", Rate: stopsPerRun / run.Seconds(), Burst: 1})
}

// A controller keeps the fleet as it should be, in its own eyes.
type controller struct {
	fleet    *fleet
	health   *http.Client
	governor *ratelimit.Limiter // nil lets everything happen
}

func (c *controller) run() {
	for s := c.fleet.s; s.Pause(every); {
		for _, srv := range c.fleet.inService() {
			if c.healthy(srv) || !c.governor.Allow() {
				continue
			}
			c.fleet.stop(srv)
			s.Go(func() {
				if s.Pause(s.At(startup)) {
					_ = c.fleet.launch() // It fails when the machine has no ports left: then one is missing.
				}
			})
		}
	}
}

// healthy asks a server how it is. The network between the controller and all
// servers is down for a while, which it cannot tell from dead servers.
func (c *controller) healthy(srv *scene.Server) bool {
	s := c.fleet.s
	if s.During(blindFrom, blind) {
		return false
	}
	ctx, cancel := context.WithTimeout(s.Context(), time.Second)
	defer cancel()
	_, err := scene.Fetch(ctx, c.health, srv.URL)
	return err == nil || s.Context().Err() != nil
}

func (f *fleet) launch() error {
	srv, err := f.s.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") }))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = append(f.up, srv)
	return nil
}

func (f *fleet) stop(srv *scene.Server) {
	f.mu.Lock()
	var rest []*scene.Server
	for _, other := range f.up {
		if other != srv {
			rest = append(rest, other)
		}
	}
	f.up = rest
	f.least = min(f.least, len(f.up))
	f.mu.Unlock()
	srv.Close()
}

func (f *fleet) worst() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.least
}

func (f *fleet) inService() []*scene.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}
