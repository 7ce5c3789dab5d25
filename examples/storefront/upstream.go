package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The services that the storefront calls.
const (
	inventory       = "inventory"
	pricing         = "pricing"
	recommendations = "recommendations"
)

// An upstream is one of them: an HTTP server that answers after a few
// milliseconds, unless it hangs.
type upstream struct {
	*server
	name  string
	clock clock

	mu    sync.Mutex
	hung  chan struct{} // not nil while it hangs; closed when it comes back
	calls []call
}

// A call is one that arrived at an upstream.
type call struct {
	sent    time.Duration // when the storefront made it, before the guards
	arrived time.Duration
}

func startUpstream(name string, c clock) (*upstream, error) {
	u := &upstream{name: name, clock: c}
	var err error
	u.server, err = serve("127.0.0.1:0", u)
	return u, err
}

// hang makes the upstream accept calls and answer none.
func (u *upstream) hang() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hung == nil {
		u.hung = make(chan struct{})
	}
}

// recover makes it answer again, the calls first whose callers still wait.
func (u *upstream) recover() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hung != nil {
		close(u.hung)
		u.hung = nil
	}
}

func (u *upstream) isHung() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hung != nil
}

// arrivals returns the calls that have arrived so far.
func (u *upstream) arrivals() []call {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]call(nil), u.calls...)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := strconv.ParseInt(r.Header.Get(sentHeader), 10, 64)
	if err != nil {
		http.Error(w, sentHeader+" is no number", http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	u.calls = append(u.calls, call{sent: time.Duration(sent), arrived: u.clock.now()})
	hung := u.hung
	u.mu.Unlock()

	if hung != nil {
		select {
		case <-hung:
		case <-r.Context().Done():
			return
		}
	}
	time.Sleep(2*time.Millisecond + rand.N(4*time.Millisecond)) // the work it does
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"from":%q,"answer":%d}`, u.name, rand.N(1000))
}
