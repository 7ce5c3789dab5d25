package stability

import (
	"errors"
	"strings"
	"time"

	"github.com/crumplezone/stability/internal/text"
)

// ErrRejected is what every refusal is: errors.Is finds it in each [Rejection], and in
// the Reason of each. Use [Rejected] to learn whether a call was not sent.
var ErrRejected = errors.New("stability: call rejected")

// NewReason returns a sentinel error with that text for the Reason of a [Rejection], as
// breaker.ErrOpen is one. errors.Is finds [ErrRejected] in it, so that a refusal remains
// one where a library keeps only the innermost error.
func NewReason(text string) error { return &reason{text} }

type reason struct{ text string }

func (r *reason) Error() string { return r.text }

func (r *reason) Is(target error) bool { return target == ErrRejected }

// A Rejection is the error of a policy that refused a call. errors.As finds it,
// and errors.Is finds [ErrRejected] and the Reason in it.
//
// A Rejection may be shared by many calls: it must not be changed.
type Rejection struct {
	Policy string // the pattern that refused: "breaker", "bulkhead", …
	Name   string // the policy's Config.Name
	Key    string // the member of a Group that refused; "" outside a Group

	// Reason is the sentinel error of the package that refused, such as
	// breaker.ErrOpen or bulkhead.ErrFull, or wraps it.
	Reason error

	// RetryAfter is how long the policy expects to go on refusing. 0: unknown.
	RetryAfter time.Duration
}

// Error names the policy, the reason, and how long to wait where that is known. A Name or
// Key that is not printable is quoted, and one of more than 256 characters is shortened.
func (r *Rejection) Error() string {
	var b strings.Builder
	if r.Name != "" || r.Key != "" {
		b.WriteString(text.Quoted(r.Name))
		if r.Key != "" {
			b.WriteString("[" + text.Quoted(r.Key) + "]")
		}
		b.WriteString(": ")
	}
	switch {
	case r.Reason != nil:
		b.WriteString(r.Reason.Error())
	case r.Policy != "":
		b.WriteString(text.Quoted(r.Policy) + ": call rejected")
	default:
		b.WriteString(ErrRejected.Error())
	}
	if r.RetryAfter > 0 {
		b.WriteString(", retry after " + twoDigits(r.RetryAfter).String())
	}
	return b.String()
}

// twoDigits rounds d: people need no more, and messages that differ in each digit
// cannot be grouped.
func twoDigits(d time.Duration) time.Duration {
	digit := time.Duration(1)
	for d/digit >= 100 {
		digit *= 10
	}
	return d.Round(digit)
}

// Is reports whether target is [ErrRejected].
func (r *Rejection) Is(target error) bool { return target == ErrRejected }

// Unwrap returns the Reason.
func (r *Rejection) Unwrap() error { return r.Reason }

// ErrorType returns a value of low cardinality for the attribute error.type of
// OpenTelemetry: the policy and "_rejected", such as "breaker_rejected".
func (r *Rejection) ErrorType() string {
	if r.Policy == "" {
		return "rejected"
	}
	return r.Policy + "_rejected"
}

// Rejected reports whether a policy refused the call that returned err, so that it was
// not sent. Where [errors.Join] put another error beside the refusal, something was sent
// and Rejected reports false.
func Rejected(err error) bool { return wholly(err, isRejection) }

// isRejection reports whether err itself, whatever it wraps, is a refusal.
func isRejection(err error) bool {
	if err == ErrRejected { //nolint:errorlint // wholly walks the tree.
		return true
	}
	is, ok := err.(interface{ Is(target error) bool }) //nolint:errorlint // wholly walks the tree.
	return ok && is.Is(ErrRejected)
}

// RetryAfter returns how long err asks its caller to wait before the next
// attempt: the RetryAfter of a [Rejection], or what a method
//
//	Pushback() time.Duration
//
// of an error in err's tree returns, such as a server's Retry-After carried by a
// client's error. It is 0 where err says nothing, and never negative.
func RetryAfter(err error) time.Duration {
	var r *Rejection
	if errors.As(err, &r) {
		return max(r.RetryAfter, 0)
	}
	var p interface{ Pushback() time.Duration }
	if errors.As(err, &p) {
		return max(p.Pushback(), 0)
	}
	return 0
}
