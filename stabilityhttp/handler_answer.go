package stabilityhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
)

// ErrorHandler answers r for a dependency further in whose call ended in err, with what
// happened as a gateway says it. It is the ErrorHandler of a
// [net/http/httputil.ReverseProxy], and for a handler one line:
//
//	resp, err := client.Do(req)
//	if err != nil {
//		stabilityhttp.ErrorHandler(w, r, err)
//		return
//	}
//
// The first rule that applies decides:
//
//   - the client of r has gone: 499, which nobody reads but logs;
//   - a policy further in refused the call, or the dependency shed it (see
//     [stability.Overloaded]): 503 with the problem type of reduced capacity. It says
//     when to come back as err does, see [stability.RetryAfter]. So the client of this
//     server takes the overload of another one for overload too, and its breakers stay
//     closed;
//   - time was up: 504;
//   - everything else: 502.
//
// A Transport of ours makes the request again after each of the three, within its
// budget, but not after a 500.
//
// The answer is a body of the type application/problem+json and has nothing of err,
// whose text is not the client's business: log it. No cache keeps the answer. ErrorHandler
// does nothing useful once the response has begun: panic with [http.ErrAbortHandler] then.
func ErrorHandler(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		writeLeft(w)
	case stability.Overloaded(err), stability.Rejected(err) && !isTimeout(err):
		writeReducedCapacity(w, stability.RetryAfter(err))
	case isTimeout(err):
		writeProblem(w, http.StatusGatewayTimeout, problem{})
	default:
		writeProblem(w, http.StatusBadGateway, problem{})
	}
}

// isTimeout reports whether err says that time was up.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// ResponseError returns the error that resp means to a server which cannot answer its own
// client because of it, for [ErrorHandler]; nil where the status is below 500 and not
// 429. The error has the status in its text. Where resp says that the request was shed,
// by a 429, or a 503 with a time to come back, [stability.Overloaded] and
// [stability.RetryAfter] find that in the error. A 504 is a timeout. The body of resp is
// the caller's to close.
func ResponseError(resp *http.Response) error {
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	wait, _ := pushback(resp.Header, time.Now())
	return &responseError{status: resp.StatusCode, shed: shed(resp), wait: wait}
}

// A responseError is a response that is no answer.
type responseError struct {
	status int
	shed   bool
	wait   time.Duration
}

// Error has the status as a number: its phrase is the server's to choose.
func (e *responseError) Error() string { return fmt.Sprintf("stabilityhttp: status %d", e.status) }

// Overloaded tells stability.Overloaded whether the server shed the request.
func (e *responseError) Overloaded() bool { return e.shed }

// Pushback tells stability.RetryAfter when to come back.
func (e *responseError) Pushback() time.Duration { return e.wait }

// Timeout reports whether the server ran out of time.
func (e *responseError) Timeout() bool { return e.status == http.StatusGatewayTimeout }
