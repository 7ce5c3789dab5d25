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
	limiter *ratelimit.Limiter

	derived  bool        // the handler is given another request than r
	conceals atomic.Bool // the request is on its way in, and has not waited yet
	waited   bool        // it had to, before it was served or refused
	served   bool
}

// Done implements [context.Context]. On the way in, a gate that calls it begins to wait.
func (v *visit) Done() <-chan struct{} {
	if v.conceals.Load() && v.conceals.Swap(false) {
		v.waited = true
	}
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

// open sets the visit's context: the request's, with what its client says about its
// deadline and its attempts.
func (v *visit) open() (cancel context.CancelFunc) {
	h, ctx := v.h, v.r.Context()
	if n := parseAttempt(v.r.Header.Get(AttemptHeader)); n > 0 {
		ctx, v.derived = retry.WithAttempt(ctx, n), true
	}
	v.derived = v.derived || h.ignores(v.r)
	var left time.Duration
	limited := false
	if h.cfg.Off&PartDeadlineHeader == 0 {
		left, limited = parseDeadline(v.r.Header.Get(h.cfg.DeadlineHeader))
	}
	if limit := h.cfg.MaxTimeout; limit > 0 && (!limited || left > limit) {
		left, limited = limit, true
	}
	cancel = func() {}
	if limited {
		ctx, cancel = context.WithTimeout(ctx, left)
		v.derived = true
	}
	v.Context = ctx
	return cancel
}

// ignores reports whether the request has a deadline header that is to be as if it
// were not there, for a proxy further in too.
func (h *Handler) ignores(r *http.Request) bool {
	return h.cfg.Off&PartDeadlineHeader != 0 && len(r.Header.Values(h.cfg.DeadlineHeader)) > 0
}

// enter passes the gates with the request, and then serves it.
func (v *visit) enter() error {
	v.conceals.Store(true)
	if err := v.inTime(); err != nil { // before anything is taken or waited for
		return err
	}
	return v.limiter.Run(v, func(ctx context.Context) error {
		if v.h.cfg.Bulkhead == nil {
			return v.begin(ctx)
		}
		defer v.h.saturated.look(v.h.cfg.Bulkhead)
		return v.h.cfg.Bulkhead.Run(ctx, v.begin)
	})
}

// inTime returns why the request is not to be begun any more, where it is not.
func (v *visit) inTime() error {
	if err := v.Err(); err != nil {
		return err
	}
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
	inner := v.r.WithContext(ctx)
	if v.h.ignores(v.r) {
		inner.Header = v.r.Header.Clone()
		inner.Header.Del(v.h.cfg.DeadlineHeader)
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
	v.next.ServeHTTP(v.w, r)
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
	case v.waited && errors.Is(v.r.Context().Err(), context.Canceled):
		h.left.Add(1)
		writeLeft(w)
		return
	case !stability.Rejected(err), errors.Is(err, context.DeadlineExceeded): // also of one that waited for a gate
		if !stability.Rejected(err) {
			_ = h.expire(v, err)
		}
		h.expired.Add(1)
		writeProblem(w, http.StatusGatewayTimeout, problem{Detail: "The time that the request was given was over, or too short, before its work began."})
		return
	}
	wait := stability.RetryAfter(err)
	if errors.Is(err, ratelimit.ErrLimited) {
		h.limited.Add(1)
		setExhausted(w.Header(), h.policyName(), v.limiter.Stats(), wait)
		writeProblem(w, http.StatusTooManyRequests, problem{Type: typeQuotaExceeded, Title: titleQuotaExceeded, ViolatedPolicies: []string{h.policyName()}})
		return
	}
	h.full.Add(1)
	writeReducedCapacity(w, wait)
}
