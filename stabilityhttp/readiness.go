package stabilityhttp

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/bulkhead"
)

// The errors of [Handler.Ready].
var (
	ErrDraining  = errors.New("stabilityhttp: draining")
	ErrSaturated = errors.New("stabilityhttp: saturated")
)

// Drain makes [Handler.Ready] say from now on that the process should get no new work.
// Requests are served as before, since a load balancer takes its time to hear of it.
// To stop without failing a request: Drain, http.Server.SetKeepAlivesEnabled(false), wait
// for as long as the load balancer may need, http.Server.Shutdown.
func (h *Handler) Drain() {
	if h != nil {
		h.draining.Store(true)
	}
}

// Ready returns nil where the process may get new work, [ErrDraining] after Drain, or
// [ErrSaturated] when the bulkhead has been without room for HandlerConfig.SaturatedFor.
// It turns back to nil as soon as the bulkhead has room.
func (h *Handler) Ready() error {
	switch {
	case h == nil:
		return nil
	case h.draining.Load():
		return ErrDraining
	case h.cfg.SaturatedFor > 0 && h.saturated.look(h.cfg.Bulkhead) >= h.cfg.SaturatedFor:
		return ErrSaturated
	}
	return nil
}

// Readiness returns the handler for the question of a load balancer or a supervisor,
// to be mounted beside the Handler and not behind it: 200 where [Handler.Ready] returns
// nil, else 503 and a body of the type application/problem+json that says why.
func (h *Handler) Readiness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := h.Ready(); err != nil {
			writeProblem(w, http.StatusServiceUnavailable, problem{Detail: err.Error()})
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ready\n"))
	})
}

// A saturation is since when a bulkhead has been without room.
type saturation struct{ since atomic.Pointer[time.Time] }

// refused notes that the bulkhead had no room just now.
func (s *saturation) refused() {
	if s.since.Load() == nil {
		now := time.Now()
		s.since.CompareAndSwap(nil, &now)
	}
}

// look ends the saturation if the bulkhead has room now, and returns how long it has
// lasted: 0 where there is none.
func (s *saturation) look(b *bulkhead.Bulkhead) time.Duration {
	since := s.since.Load()
	if since == nil {
		return 0
	}
	if f := b.Stats(); f.Queued == 0 && f.InUse < f.Limit {
		s.since.CompareAndSwap(since, nil)
		return 0
	}
	return time.Since(*since)
}
