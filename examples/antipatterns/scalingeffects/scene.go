// Package scalingeffects shows what is nothing between two servers of a test and
// grows with the square of their number.
package scalingeffects

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/ratelimit"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "scalingeffects",
	Title:   "Scaling effects",
	Story:   "Servers keep their caches in step by telling one another of every change. Four of them do so at first, as in the test; then there are sixteen, as in production, with as many changes for each.",
	Guard:   "a hub that all tell, and that passes changes on in batches, at a limited rate",
	Want:    scene.Requirement{Text: "messages for each change with sixteen servers", AtMost: 6},
	Plot:    scene.Plot{Title: "Messages a second"},
	Program: program,
}

const (
	few, many = 4, 16
	changes   = 2 // a second, of each server
	manyFrom  = 0.4
	batches   = 3 // a second, to each server, from the hub
)

// A farm is the servers, and what they send.
type farm struct {
	client   *http.Client
	nodes    []*scene.Server
	size     atomic.Int64 // how many of the nodes are in service
	hub      *scene.Server
	messages atomic.Int64

	mu      sync.Mutex
	pending []string // changes that the hub has not passed on
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	f := &farm{client: s.Visitors()}
	f.size.Store(few)
	for range many {
		node, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "forgotten") // what is said to have changed
		}))
		if err != nil {
			return m, err
		}
		f.nodes = append(f.nodes, node)
	}
	tell := f.tellAll
	if s.Guarded {
		tell = f.tellHub
		if f.hub, err = s.Serve(http.HandlerFunc(f.take)); err != nil {
			return m, err
		}
		s.Go(func() { f.passOn(s) })
	}
	var grown atomic.Int64 // messages before the farm grew
	s.Go(func() {
		if s.Until(manyFrom) {
			grown.Store(f.messages.Load())
			f.size.Store(many)
		}
	})

	rate := s.Watch(perSecond(s, &f.messages))
	answers := s.Play(
		scene.Load{Rate: few * changes, To: manyFrom, Patience: 5 * time.Second, Visit: tell},
		scene.Load{Rate: many * changes, From: manyFrom, Patience: 5 * time.Second, Visit: tell})
	m.Series = rate()
	m.Figure = float64(f.messages.Load()-grown.Load()) / float64(len(answers[1]))
	m.Note("messages for each change with four servers: %.1f", float64(grown.Load())/float64(len(answers[0])))
	return m, nil
}

// tellAll is how the server of the n-th change tells all the others.
func (f *farm) tellAll(ctx context.Context, n int) error {
	size := int(f.size.Load())
	for i, node := range f.nodes[:size] {
		if i == n%size {
			continue
		}
		if err := f.send(ctx, node, fmt.Sprintf("/changed/%d", n)); err != nil {
			return err
		}
	}
	return nil
}

// tellHub is how it tells the hub, and knows of no other server.
func (f *farm) tellHub(ctx context.Context, n int) error {
	return f.send(ctx, f.hub, fmt.Sprintf("/changed/%d", n))
}

func (f *farm) send(ctx context.Context, to *scene.Server, what string) error {
	f.messages.Add(1)
	_, err := scene.Fetch(ctx, f.client, to.URL+what)
	return err
}

// take is the side of the hub that servers tell.
func (f *farm) take(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = append(f.pending, strings.TrimPrefix(r.URL.Path, "/changed/"))
	fmt.Fprint(w, "taken")
}

// passOn is the other side: it has a batch for every server a few times a second,
// whether one thing has changed since the last or a hundred.
func (f *farm) passOn(s *scene.Stage) {
	pace := ratelimit.New(ratelimit.Config{Name: "hub", Rate: batches, Burst: 1})
	for pace.Wait(s.Context()) == nil {
		f.mu.Lock()
		batch := strings.Join(f.pending, ",")
		f.pending = nil
		f.mu.Unlock()
		if batch == "" {
			continue
		}
		for _, node := range f.nodes[:f.size.Load()] {
			_ = f.send(s.Context(), node, "/changed/"+batch) // A server that is down has no cache to keep in step.
		}
	}
}

// perSecond makes a rate of a count.
func perSecond(s *scene.Stage, count *atomic.Int64) func() float64 {
	var at, n float64
	var rate float64
	return func() float64 {
		if now := s.Now().Seconds(); now-at >= s.Length.Seconds()/20 {
			rate = (float64(count.Load()) - n) / (now - at)
			at, n = now, float64(count.Load())
		}
		return rate
	}
}
