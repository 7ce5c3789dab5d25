package stabilityhttp

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
)

// A visit is a request on its way through a Handler. It is also the context that the
// request passes the gates with: the request's own, with the deadline that it has here.
//
// The server cancels the context of a request when it has read the end of the connection.
// That may be a client which has gone, or one which has sent all that it wants and waits
// for the answer, as nc -N does. So a visit conceals the cancellation from gates that let
// it pass at once, and only a request that waits is given up. The handler sees the
// context as it is.
type visit struct {
	context.Context
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	next    http.Handler
	network *ratelimit.Limiter // of the client's network; nil: there is none
	limiter *ratelimit.Limiter // of the client; nil: there is none, or it was not asked yet

	arrived  time.Time
	theirs   time.Time   // the deadline that the client asked for, where it is the one in force
	upgrade  *liftable   // the context of a request for an upgrade that has a deadline
	derived  bool        // the handler is given another request than r
	conceals atomic.Bool // the request is on its way in, and has not waited yet
	served   bool
}

// Done implements [context.Context]. On the way in, a gate that calls it begins to wait.
func (v *visit) Done() <-chan struct{} {
	v.conceals.Store(false)
	return v.Context.Done()
}

// Err implements [context.Context].
func (v *visit) Err() error {
	err := v.Context.Err()
	if err != nil && v.conceals.Load() && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// String names the context as those of the context package do. Without it, fmt would
// read the fields while others write them.
func (v *visit) String() string { return "stabilityhttp.request" }

// Value implements [context.Context].
func (v *visit) Value(key any) any {
	if key == (clientsDeadline{}) && !v.theirs.IsZero() {
		return v.theirs
	}
	return v.Context.Value(key)
}

// open sets the visit's context: the request's, with what its client says about its
// deadline and its attempts, as far as that is believed.
func (v *visit) open() (cancel context.CancelFunc) {
	h, ctx := v.h, v.r.Context()
	v.arrived = time.Now()
	if !h.cfg.Edge {
		if n := parseAttempt(v.r.Header.Get(AttemptHeader)); n > 0 {
			ctx, v.derived = retry.WithAttempt(ctx, n), true
		}
		var has bool
		ctx, has = labelled(ctx, v.r.Header)
		v.derived = v.derived || has
	}
	v.derived = v.derived || h.strips(v.r)
	left, theirs := h.clientsTime(v.r)
	limited := theirs
	if limit := h.cfg.MaxTimeout; limit > 0 && (!limited || left > limit) {
		left, limited, theirs = limit, true, false
	}
	if !limited {
		v.Context = ctx
		return func() {}
	}
	v.derived = true
	end := v.arrived.Add(left)
	if asksForUpgrade(v.r) {
		v.upgrade, cancel = newLiftable(ctx, end)
		v.Context = v.upgrade
	} else {
		v.Context, cancel = context.WithDeadline(ctx, end)
	}
	if deadline, _ := v.Deadline(); theirs && deadline.Equal(end) { // and not of a middleware further out
		v.theirs = end
	}
	return cancel
}

// clientsTime returns the time that the request's client has left, where it says so and
// is believed.
func (h *Handler) clientsTime(r *http.Request) (left time.Duration, ok bool) {
	if h.cfg.Edge || h.cfg.Off&PartDeadlineHeader != 0 {
		return 0, false
	}
	return parseDeadlines(r.Header[h.deadlineHeader])
}

// strips reports whether the request has a field that is not believed, and is to be as if
// it were not there, for a proxy further in too.
func (h *Handler) strips(r *http.Request) bool {
	for _, name := range h.disbelieved {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
}

// header returns the header of the request that the handler is given: without what is not
// believed, and with the time that is left now, or nil where it is as it came.
func (v *visit) header() http.Header {
	h := v.h
	values := v.r.Header[h.deadlineHeader]
	if h.strips(v.r) {
		header := v.r.Header.Clone()
		for _, name := range h.disbelieved {
			delete(header, name)
		}
		return header
	}
	deadline, limited := v.Deadline()
	if len(values) == 0 || !limited {
		return nil
	}
	left := time.Until(deadline)
	if said, ok := parseDeadline(values[0]); ok && len(values) == 1 && said-left < time.Millisecond && said-left >= 0 {
		return nil // it counts in milliseconds
	}
	header := v.r.Header.Clone()
	header[h.deadlineHeader] = []string{formatDeadline(left)}
	return header
}

// enter passes the gates with the request, and then serves it.
func (v *visit) enter() error {
	v.conceals.Store(true)
	err := v.Err() // of a middleware that ended it
	if err == nil {
		err = v.inTime() // before anything is taken or waited for
	}
	if err != nil {
		return err
	}
	if v.h.cfg.RateLimit == nil && v.h.cfg.NetworkLimit == nil {
		return v.pass(v)
	}
	client := v.h.cfg.Client(v.r)
	if v.h.cfg.NetworkLimit != nil {
		if network, ok := networkOf(client); ok {
			v.network = v.h.cfg.NetworkLimit.Get(network)
		}
	}
	return v.network.Run(v, func(ctx context.Context) error {
		v.limiter = v.h.cfg.RateLimit.Get(client) // not before: it makes a member
		return v.limiter.Run(ctx, v.pass)
	})
}

// pass passes the bulkhead.
func (v *visit) pass(ctx context.Context) error {
	if v.h.cfg.Bulkhead == nil {
		return v.begin(ctx)
	}
	defer v.h.saturated.look(v.h.cfg.Bulkhead)
	return v.h.cfg.Bulkhead.Run(ctx, v.begin)
}

// inTime returns the refusal of a request that has too little time left. Whether its client
// has left is for the gates to ask: one that they have let pass is served, because it may
// have got a permit that came free as it was about to wait.
func (v *visit) inTime() error {
	if deadline, limited := v.Deadline(); limited && time.Until(deadline) < v.h.cfg.MinTimeout {
		return v.h.expire(v, context.DeadlineExceeded)
	}
	return nil
}

// begin serves the request, in the context that the gates gave it, if there is still time.
func (v *visit) begin(ctx context.Context) error {
	if err := v.inTime(); err != nil {
		return err
	}
	v.conceals.Store(false)
	v.served = true
	if v.limiter != nil {
		setQuota(v.w.Header(), v.h.policyName(), v.limiter.Stats())
	}
	if !v.derived && ctx == context.Context(v) {
		return v.serve(v.r)
	}
	if v.r.Trailer == nil && v.r.ProtoMajor == 1 && v.r.ContentLength < 0 {
		// Where the server puts trailers that were not announced, for the copy to share.
		v.r.Trailer = http.Header{}
	}
	inner := v.r.WithContext(ctx)
	if header := v.header(); header != nil {
		inner.Header = header
	}
	defer handBack(v.r, inner)
	return v.serve(inner)
}

// serve calls the handler, and counts and returns how that ended.
func (v *visit) serve(r *http.Request) error {
	returned := false
	defer func() {
		outcome := stability.Failure
		switch err := r.Context().Err(); {
		case errors.Is(err, context.Canceled):
			outcome = stability.Ignored
		case err == nil && returned:
			outcome = stability.Success
		}
		v.h.tally.Count(outcome)
	}()
	v.bound()
	w := v.w
	if v.upgrade != nil {
		w = &upgradeWriter{v.w, v.upgrade.lift}
	}
	v.next.ServeHTTP(w, r)
	returned = true
	return r.Context().Err()
}

// refuse answers a request that is not served.
func (v *visit) refuse(err error) {
	h, w := v.h, v.w
	h.tally.CountRejected()
	if errors.Is(err, bulkhead.ErrFull) { // also where its deadline passed, or its client left, in the queue
		h.saturated.refused()
		h.saturated.look(h.cfg.Bulkhead) // it may have got room since
	}
	switch {
	case errors.Is(err, context.Canceled): // while it waited
		h.left.Add(1)
		writeLeft(w)
		return
	case !stability.Rejected(err), errors.Is(err, context.DeadlineExceeded): // also of one that waited for a gate
		if !stability.Rejected(err) {
			_ = h.expire(v, err)
		}
		h.expired.Add(1)
		// What it would have needed tells a client of ours that the server works, and
		// who gave it too little time.
		w.Header()[h.deadlineHeader] = []string{formatDeadline(h.cfg.MinTimeout)}
		writeProblem(w, http.StatusGatewayTimeout, problem{Detail: "The time that the request was given was over, or too short, before its work began."})
		return
	}
	wait := stability.RetryAfter(err)
	if errors.Is(err, ratelimit.ErrLimited) {
		h.limited.Add(1)
		limiter, name := v.limiter, h.policyName()
		if limiter == nil {
			limiter, name = v.network, name+"-network"
		}
		setExhausted(w.Header(), name, limiter.Stats(), wait)
		writeProblem(w, http.StatusTooManyRequests, problem{Type: typeQuotaExceeded, Title: titleQuotaExceeded, ViolatedPolicies: []string{name}})
		return
	}
	h.full.Add(1)
	writeReducedCapacity(w, wait)
}

// overtime is how much longer than MaxTimeout a connection lives, so that a handler whose
// time is over can say so.
const overtime = 5 * time.Second

// bound makes the connection's reads and writes end soon after MaxTimeout: a client that
// neither sends nor reads would hold its handler for ever, whose context does not end a
// Read or a Write. What the server itself bounds stays so where that is earlier. The
// server resets both before the next request on the connection.
func (v *visit) bound() {
	if v.h.cfg.MaxTimeout == 0 {
		return
	}
	limit := v.h.cfg.MaxTimeout + min(overtime, maxDeadline-v.h.cfg.MaxTimeout)
	server, _ := v.r.Context().Value(http.ServerContextKey).(*http.Server)
	if server == nil {
		server = &http.Server{} //nolint:gosec // It serves nothing.
	}
	control, end := http.NewResponseController(v.w), v.arrived.Add(limit)
	if v.r.Body != nil && v.r.Body != http.NoBody && (server.ReadTimeout <= 0 || server.ReadTimeout > limit) {
		_ = control.SetReadDeadline(end)
	}
	if server.WriteTimeout <= 0 || server.WriteTimeout > limit {
		_ = control.SetWriteDeadline(end)
	}
}
