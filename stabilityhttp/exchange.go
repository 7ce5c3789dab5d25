package stabilityhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/attempts"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// ErrNoReplay is in the error of a request that could have been made again but for
// its body, which can be read only once: it has no GetBody.
var ErrNoReplay = errors.New("stabilityhttp: not retried, the request has a body and no GetBody")

// defaultAttempts is the default of retry.Config.Attempts.
const defaultAttempts = 3

// An exchange is a request with all its attempts. It is also the context in which
// they are made: the caller's, with the deadline of the Transport. That has no timer
// because nobody waits for it: the retry makes no pause that would not end before,
// and each attempt has its own clock.
type exchange struct {
	context.Context
	began time.Time
	limit time.Duration // after which the Transport's deadline is; 0: the caller's, if any, is earlier
	chain *redirects    // that led to the request; nil: it is the first

	t    *Transport
	req  *http.Request // the caller's
	key  string
	sent atomic.Int32   // how often
	resp *http.Response // of the last attempt; nil: there was none
	last error          // of the attempt before the last
	over bool           // resp is the caller's

	first attempt       // room for the first, most often the only one
	room  attempts.Room // and for its mark
}

type exchangeKey struct{}

// exchangeOf returns the exchange that ctx is of.
func exchangeOf(ctx context.Context) *exchange {
	x, ok := ctx.(*exchange)
	if !ok {
		x, _ = ctx.Value(exchangeKey{}).(*exchange)
	}
	return x
}

// keyOf returns its key.
func keyOf(ctx context.Context) string { return exchangeOf(ctx).key }

// Value implements [context.Context].
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// Deadline implements [context.Context].
func (x *exchange) Deadline() (time.Time, bool) {
	if x.limit > 0 {
		return x.began.Add(x.limit), true
	}
	return x.Context.Deadline()
}

func (t *Transport) exchange(req *http.Request) (*http.Response, error) {
	x := &exchange{Context: req.Context(), t: t, req: req}
	defer x.unwind()
	x.key = t.cfg.Key(req)
	x.began = time.Now()
	x.chain = redirectsTo(req)
	limit, over := x.chain.left(t.timeout, x.began)
	if over {
		return nil, &timeout.Error{Name: t.cfg.Name, Key: x.key, After: t.timeout, Err: context.DeadlineExceeded}
	}
	if deadline, ok := x.Context.Deadline(); !ok || deadline.Sub(x.began) > limit {
		x.limit = limit
	}
	x.room.Context = x
	resp, err := x.result(t.retry.Run(&x.room, x.try))
	x.over = true
	return resp, x.withCause(err)
}

// withCause returns err with the cause that the caller's context ended for, where that is
// why the request did.
func (x *exchange) withCause(err error) error {
	if ctxErr := x.Context.Err(); err != nil && ctxErr != nil && errors.Is(err, ctxErr) {
		return ended.With(x.Context, err)
	}
	return err
}

// unwind closes the body of a request that was not even tried, from when on an attempt
// sees to it, and that of a response where a function of the user's panicked after it.
func (x *exchange) unwind() {
	if x.sent.Load() == 0 {
		closeBody(x.req.Body)
	}
	if !x.over {
		x.discard()
	}
}

// try makes an attempt, or two of them side by side.
func (x *exchange) try(ctx context.Context) (err error) {
	if x.t.hedge == nil || !x.repeatable() {
		x.resp, err = x.send(ctx, ctx)
		return err
	}
	x.resp, err = x.race(ctx)
	return err
}

// send sends the request once, in ctx with the given values. Where the response is one
// to make it again after, it comes with an error.
func (x *exchange) send(ctx, values context.Context) (*http.Response, error) {
	a, body := &x.first, x.req.Body
	if n := x.sent.Add(1); n > 1 {
		a = new(attempt)
		if hasBody(x.req) {
			var err error
			if body, err = x.req.GetBody(); err != nil {
				err = fmt.Errorf("stabilityhttp: Request.GetBody: %w", err)
				if x.last != nil {
					err = &lastError{fmt.Errorf("%w: %w", err, x.last), x.last}
				}
				return nil, &attemptError{err: err}
			}
		}
	}
	n, repeats := retry.Attempt(ctx), x.mayRepeat()
	a.x, a.number = x, x.attemptNumber(n, repeats)
	a.clock.set(ctx, values, a, x.patience(n, repeats))
	resp, err := a.send(body)
	if err != nil {
		return nil, x.failed(a, err)
	}
	if x.t.retry == nil || !x.replayable() || !x.retryable(resp) {
		return resp, nil
	}
	wait, _ := pushback(resp.Header, time.Now())
	if wait > x.t.passOn && isServing(x.Context) {
		return resp, nil
	}
	// Whether another attempt is made is for the retry to say. If so, the response
	// is discarded before the pause, in which it must not take up anything at the
	// host; else it is the caller's, and holds what it holds to the end of its body.
	return resp, &attemptError{resp: resp, again: true, shed: shed(resp), wait: wait}
}

// retryable asks the user's function about a response, which must not be lost if it
// panics.
func (x *exchange) retryable(resp *http.Response) bool {
	asked := false
	defer func() {
		if !asked {
			_ = resp.Body.Close()
		}
	}()
	again := x.t.cfg.Retryable(x.req, resp, nil)
	asked = true
	return again
}

// failed returns what the retry is told about an attempt without a response.
func (x *exchange) failed(a *attempt, err error) error {
	switch {
	case x.t.retry == nil, errors.Is(err, stability.ErrRejected), a.clock.endedBy() == byLimit, a.uploadFailed.Load(),
		x.Context.Err() != nil, isCanceled(x.req), isMalformed(x.req, err), x.t.refusedByProxy(x.req, err),
		!x.t.cfg.Retryable(x.req, nil, err):
		return err
	case !x.replayable():
		return &lastError{fmt.Errorf("%w: %w", ErrNoReplay, err), err}
	}
	return &attemptError{err: err, again: true}
}

// replayable reports whether the request can be sent once more.
func (x *exchange) replayable() bool { return !hasBody(x.req) || x.req.GetBody != nil }

// repeatable reports whether the request may be sent once more whatever became of
// it before.
func (x *exchange) repeatable() bool { return x.replayable() && idempotent(x.req) }

// attemptNumber returns what AttemptHeader tells the server about the nth attempt of a
// request that repeats; 0: nothing.
func (x *exchange) attemptNumber(n int, repeats bool) int {
	if x.t.cfg.Retry.Attempts != 1 && repeats {
		return n
	}
	return retry.Attempt(x.Context) // of a retry further out, which makes again what includes this request
}

// mayRepeat reports whether the request may be made again after an attempt that the
// server may have got.
func (x *exchange) mayRepeat() bool {
	return x.repeatable() || x.replayable() && x.t.customRetry
}

// patience returns how long the nth attempt of a request that repeats may wait for the
// server at a stretch.
func (x *exchange) patience(n int, repeats bool) time.Duration {
	if x.t.patience != x.t.lastPatience && (!repeats || n >= x.t.attempts) {
		return x.t.lastPatience
	}
	return x.t.patience
}

// discard gives up the response that the caller will not get.
func (x *exchange) discard() {
	if x.resp != nil {
		_ = x.resp.Body.Close()
		x.resp = nil
	}
}

// result returns what RoundTrip does, after all attempts ended in err.
func (x *exchange) result(err error) (*http.Response, error) {
	if err == nil {
		return x.resp, nil
	}
	var gaveUp *retry.Error
	if errors.As(err, &gaveUp) && x.Context.Err() != nil {
		x.discard() // the caller went away during a pause
	}
	if x.resp != nil {
		return x.resp, nil
	}
	if e, ok := err.(*attemptError); ok { //nolint:errorlint // As try returned it.
		return nil, e.err
	}
	if gaveUp != nil {
		return nil, &lastError{err, gaveUp.Errors[len(gaveUp.Errors)-1]}
	}
	return nil, err
}

// isCanceled reports whether the request was canceled in the way that was before
// contexts. http.Client.Timeout uses both.
func isCanceled(req *http.Request) bool {
	select {
	case <-req.Cancel: //nolint:staticcheck // Deprecated, and kept by net/http.
		return true
	default:
		return false
	}
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// An attemptError is how the retry sees an attempt: an error, or a response that is
// none for it.
type attemptError struct {
	err   error
	resp  *http.Response
	again bool
	shed  bool          // resp says overload
	wait  time.Duration // that the server asked for
}

// Error returns the error, or the status of the response, as a number: its phrase is the
// server's to choose.
func (e *attemptError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return "stabilityhttp: status " + strconv.Itoa(e.resp.StatusCode)
}

// Unwrap returns the error.
func (e *attemptError) Unwrap() error { return e.err }

// Overloaded tells stability.Overloaded whether the server shed the request.
func (e *attemptError) Overloaded() bool { return e.shed }

// Pushback tells stability.RetryAfter how long to wait.
func (e *attemptError) Pushback() time.Duration { return e.wait }

// canceled reports whether the caller canceled the request in that way before its
// deadline, at which http.Client.Timeout does so.
func (x *exchange) canceled() bool {
	if !isCanceled(x.req) {
		return false
	}
	deadline, ok := x.Context.Deadline()
	return !ok || time.Now().Before(deadline)
}

// onRetry is the OnRetry of the retry: it gives up the response after which another
// attempt is made, and then calls the user's.
func onRetry(users func(context.Context, error, time.Duration)) func(context.Context, error, time.Duration) {
	return func(ctx context.Context, err error, pause time.Duration) {
		exchangeOf(ctx).last = err
		var e *attemptError
		if errors.As(err, &e) && e.resp != nil {
			_ = e.resp.Body.Close()
		}
		if users != nil {
			users(ctx, err, pause)
		}
	}
}

// retryable is the Retryable of the retry.
func retryable(err error) bool {
	var e *attemptError
	return errors.As(err, &e) && e.again
}

// A lastError is an error around that of the last attempt. It says like that whether
// time was up, because url.Error asks the outermost error only.
type lastError struct {
	error
	last error
}

// Unwrap returns the error.
func (e *lastError) Unwrap() error { return e.error }

// Timeout reports whether time was up.
func (e *lastError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.last, &t) && t.Timeout()
}

// Temporary reports what that of the last attempt does; net.Error has it.
func (e *lastError) Temporary() bool {
	var t interface{ Temporary() bool }
	return errors.As(e.last, &t) && t.Temporary()
}
