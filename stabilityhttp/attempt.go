package stabilityhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

// An attempt is one request on its way through the gates to a host and back, to the
// end of the response's body. Everything that it needs lives in it, so that it
// costs one allocation.
type attempt struct {
	x      *exchange
	number int // for AttemptHeader
	clock  clock
	passes passes
	upload upload
	out    http.Request // is sent
	values [2]string    // of the fields added to its header

	sent     bool              // the gates let it pass
	resp     *http.Response    // nil until the headers have come
	outcome  stability.Outcome // of resp, as long as its body does not break
	body     io.ReadCloser     // of resp, as it came
	upgraded bool              // the body is the connection
	closing  atomic.Bool       // the body is being closed
	closed   atomic.Bool       // or was
	over     atomic.Bool       // the attempt has ended

	plainFile    bool        // the request's body is a file, and no upload
	uploadFailed atomic.Bool // by itself, or it is not as long as ContentLength says
}

// errNotAsked is what a server gets for a connection that is no longer one of HTTP, with
// no limit to its time, where nobody asked for that.
var errNotAsked = errors.New("stabilityhttp: status 101, and the request asked for no upgrade")

// errAbandoned ends an attempt whose context ended while nobody read its body.
var errAbandoned = errors.New("stabilityhttp: response body neither read nor closed in time")

// send sends the request with that body. The gates are passed before, and left when
// the attempt has ended: here, where there is no body to read, and else with the
// response's body. It closes the request's body on every path.
func (a *attempt) send(reqBody io.ReadCloser) (*http.Response, error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic or a Goexit, of a gate's listener or of the base.
		defer func() { _ = a.end(stability.ErrNoReturn) }()
		if a.body != nil {
			_ = a.body.Close()
		} else {
			closeBody(reqBody)
		}
	}()
	resp, err := a.roundTrip(reqBody)
	if err != nil {
		returned = true
		return nil, a.end(err)
	}
	if a.clock.uploadStalled() { // and was closed: the server may have taken for all what had come
		returned = true
		if resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, a.end(a.clock.Err())
	}
	resp.Request = a.x.asked(resp)
	a.x.t.quotas.note(a.x.key, a.x.req, resp)
	lookForProblem(resp)
	a.receive(resp)
	returned = true
	return resp, nil
}

func (a *attempt) roundTrip(reqBody io.ReadCloser) (*http.Response, error) {
	if err := a.passes.enter(&a.clock, a.x.t.gates(a.x.key, a.x.req)); err != nil {
		closeBody(reqBody)
		return nil, err
	}
	a.sent = true
	if a.x.t.queues {
		over := a.watch()
		defer over()
	}
	out, err := a.outgoing(reqBody, a.clock.begin())
	if err != nil {
		closeBody(reqBody)
		return nil, err
	}
	resp, err := a.x.t.base.RoundTrip(out)
	switch {
	case err != nil:
		if resp != nil && resp.Body != nil { // response xor error, whatever the base does
			_ = resp.Body.Close()
		}
		if a.plainFile && isFileError(err) {
			a.uploadFailed.Store(true)
		}
		return nil, err
	case resp == nil:
		closeBody(reqBody)
		return nil, fmt.Errorf("stabilityhttp: %T returned neither a response nor an error", a.x.t.base)
	case resp.StatusCode == http.StatusSwitchingProtocols && !upgrades(a.x.req.Header):
		closeBody(resp.Body)
		return nil, errNotAsked
	}
	return resp, nil
}

// outgoing returns the request that is sent at now in place of the caller's: the same
// but for its context, its body and the fields added to its header.
func (a *attempt) outgoing(reqBody io.ReadCloser, now time.Duration) (*http.Request, error) {
	req, t := a.x.req, a.x.t
	out := &a.out
	*out = *req.WithContext(&a.clock)
	if hasBody(req) {
		if err := a.takeUpload(out, reqBody); err != nil {
			return nil, err
		}
	}
	// A base sets fields, although it should not, and attempts run side by side: each has a
	// map of its own.
	out.Header = make(http.Header, len(req.Header)+2)
	for name, values := range req.Header {
		// The values are shared, with no room behind them to append to.
		out.Header[name] = values[:len(values):len(values)]
	}
	if a.x.chain != nil && a.x.chain.away { // what we tell the first host is not for another
		delete(out.Header, t.deadlineHeader)
		delete(out.Header, AttemptHeader)
		delete(out.Header, CriticalityHeader)
		delete(out.Header, CallerHeader)
		return out, nil
	}
	t.label(a.x.Context, out.Header)
	if deadline, limited := a.x.Deadline(); limited && t.deadlineHeader != "" {
		a.values[0] = t.timeLeft(deadline.Sub(a.x.began) - now)
		out.Header[t.deadlineHeader] = a.values[0:1:1]
	}
	if a.number > 0 {
		a.values[1] = strconv.Itoa(a.number)
		out.Header[AttemptHeader] = a.values[1:2:2]
	}
	return out, nil
}

// receive takes the response over.
func (a *attempt) receive(resp *http.Response) {
	a.resp, a.body = resp, resp.Body
	a.outcome = a.classify(resp, nil)
	switch {
	case resp.Body == nil:
		resp.Body = http.NoBody
		_ = a.end(nil)
	case resp.Body == http.NoBody:
		_ = a.end(nil)
	case resp.StatusCode == http.StatusSwitchingProtocols && isWriter(resp.Body):
		// The end of HTTP on this connection. What it takes up at the host it takes
		// up until it is closed.
		a.tell()
		a.upgraded = true
		resp.Body = (*upgraded)(a)
		a.clock.upgrade()
	default:
		a.tell()
		resp.Body = (*body)(a)
		if a.clock.answer() { // and did not call contextEnded, because it was too early
			a.contextEnded()
		}
	}
}

// tell lets the breaker judge the host by the headers of its response, whose body may
// take as long as the server and the caller like. A body that breaks after a success is
// a failure instead; after a failure it changes nothing.
func (a *attempt) tell() {
	switch a.outcome {
	case stability.Success:
		a.passes.Answered()
	case stability.Failure:
		a.passes.leave(breakerGate, stability.Judge(stability.Failure, nil))
	}
}

// end ends the attempt, once, tells the gates how, and returns err or what is made
// of it where a time limit of the Transport was the reason.
func (a *attempt) end(err error) error {
	err = a.explain(err)
	if !a.over.Load() && !a.over.Swap(true) {
		defer a.clock.end()
		a.leave(err)
	}
	return err
}

// leave leaves the gates.
func (a *attempt) leave(err error) {
	// The user's Classify may panic: the attempt counts as failed then.
	outcome, verdict := stability.Failure, stability.ErrNoReturn
	defer func() {
		if a.sent {
			a.x.t.limits.count(&a.clock, outcome)
		}
		a.passes.leave(0, verdict)
	}()
	switch {
	case err == stability.ErrNoReturn: //nolint:errorlint // The sentinel itself.
	case a.upgraded && err == nil:
		outcome, verdict = stability.Success, nil
	default:
		outcome = a.judge(err)
		verdict = stability.Judge(outcome, nil)
	}
}

// judge returns the outcome of the attempt.
func (a *attempt) judge(err error) stability.Outcome {
	if err == nil {
		return a.outcome
	}
	if !a.sent || errors.Is(err, errAbandoned) || errors.Is(err, stability.ErrRejected) ||
		errors.Is(a.clock.Err(), context.Canceled) || a.x.canceled() ||
		a.resp == nil && (isMalformed(a.x.req, err) || a.uploadFailed.Load() || a.clock.uploadStalled()) {
		return stability.Ignored
	}
	return a.classify(a.resp, err)
}

// classify asks the user's function. It does not let the time that was over count against
// a host where redirects had used up more than half of it before, and it does not let a client of this server, whose
// deadline came with its request and left less time than the Transport would have, count
// against the host: neither where that deadline passed, nor where the host, which is a
// server of ours, refused to begin for it.
func (a *attempt) classify(resp *http.Response, err error) stability.Outcome {
	o, t := a.x.t.cfg.Classify(resp, err), a.x.t
	if o == stability.Failure && err != nil && a.x.limit > 0 && a.x.limit < t.timeout/2 && a.clock.endedBy() == byLimit {
		return stability.Ignored
	}
	if o != stability.Failure || a.x.limit > 0 || t.timeout == 0 && t.patience == 0 {
		return o
	}
	late := err != nil && a.clock.endedBy() == byOthers && errors.Is(a.clock.Err(), context.DeadlineExceeded)
	refused := err == nil && resp.StatusCode == http.StatusGatewayTimeout && t.deadlineHeader != "" && resp.Header[t.deadlineHeader] != nil
	if (late || refused) && isClients(a.x.Context) {
		return stability.Ignored
	}
	return o
}

// explain says in err whose time limit it was, where it was one of the
// Transport's.
func (a *attempt) explain(err error) error {
	if err == nil || err == stability.ErrNoReturn { //nolint:errorlint // The sentinel itself.
		return err
	}
	var after time.Duration
	switch a.clock.endedBy() {
	case byLimit:
		after = a.x.t.timeout
	case byPatience:
		after = a.clock.patience
	default:
		return a.x.withCause(err)
	}
	return &timeout.Error{Name: a.x.t.cfg.Name, Key: a.x.key, After: after, Err: err}
}

// contextEnded gives back what a caller took who neither reads nor closes the body:
// the connection is gone, and a Read will say so if there ever is one.
func (a *attempt) contextEnded() {
	if !a.upgraded && !a.closing.Load() {
		_ = a.end(errAbandoned)
	}
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		_ = body.Close()
	}
}

func isWriter(body io.ReadCloser) bool {
	_, ok := body.(io.Writer)
	return ok
}
