package main

import (
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/fallback"
)

// A stage is what a run is played on: three upstreams and the storefront before
// them.
type stage struct {
	upstreams map[string]*upstream
	transport *http.Transport // from the storefront to the upstreams
	shop      *shop
	front     *server

	mu      sync.Mutex
	changes []change
}

// A change is one of the state of the breaker before recommendations.
type change struct {
	at time.Duration
	to breaker.State
}

func setStage(o options, sd side, meters metric.MeterProvider, c clock) (_ *stage, err error) {
	st := &stage{
		upstreams: make(map[string]*upstream),
		transport: &http.Transport{MaxIdleConnsPerHost: o.workers},
		shop: &shop{
			urls:    make(map[string]string),
			clients: make(map[string]*http.Client),
			without: fallback.New(fallback.Config{Name: recommendations, MeterProvider: meters}),
			workers: make(chan struct{}, o.workers),
			clock:   c,
		},
	}
	defer func() {
		if err != nil {
			st.clear()
		}
	}()
	to := sinks{meters: meters, changed: func(ch breaker.Change) {
		if ch.Name == recommendations {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.changes = append(st.changes, change{at: ch.At.Sub(c.start), to: ch.To})
		}
	}}
	for _, name := range []string{inventory, pricing, recommendations} {
		u, err := startUpstream(name, c)
		if err != nil {
			return nil, err
		}
		st.upstreams[name] = u
		st.shop.urls[name] = u.url
		st.shop.clients[name] = &http.Client{Transport: sd.guard(name, st.transport, to)}
	}
	st.front, err = serve("127.0.0.1:0", st.shop)
	return st, err
}

// clear ends all that setStage started, and waits for it.
func (st *stage) clear() {
	st.front.close()
	st.transport.CloseIdleConnections()
	for _, u := range st.upstreams {
		u.recover()
		u.close()
	}
}

// breakerChanges returns the changes so far.
func (st *stage) breakerChanges() []change {
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]change(nil), st.changes...)
}
