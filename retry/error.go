package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many errors an Error keeps.
const maxErrors = 8

// An Error is what a call ends in that was given up although its last error could
// have been retried. errors.Is and errors.As find the Reason in it, and the error
// of the last attempt.
type Error struct {
	Name string // the policy's Config.Name
	// Reason is ErrExhausted, ErrBudget, ErrDeadline, ErrPushback, the error of the
	// call's context, which has ended, with its cause, or that of a refused attempt. In the last one
	// errors.Is finds ErrRefused and what the refusal wraps, such as breaker.ErrOpen,
	// but not stability.ErrRejected, since attempts before it were made.
	Reason   error
	Attempts int // attempts made; none is one that was refused
	// Errors are those of the last attempts, at most 8, the oldest first.
	Errors []error
}

// Error names the policy, the reason, and the last attempt with its error.
func (e *Error) Error() string {
	reason := "retry: given up"
	if e.Reason != nil {
		reason = e.Reason.Error()
	}
	if !strings.HasPrefix(reason, "retry: ") { // the error of a context
		reason = "retry: " + reason
	}
	if e.Name != "" {
		reason = e.Name + ": " + reason
	}
	last := e.last()
	if last == nil {
		return fmt.Sprintf("%s (attempt %d)", reason, e.Attempts)
	}
	return fmt.Sprintf("%s (attempt %d: %v)", reason, e.Attempts, last)
}

// Unwrap returns the Reason and the error of the last attempt.
func (e *Error) Unwrap() []error {
	return slices.DeleteFunc([]error{e.Reason, e.last()}, func(err error) bool { return err == nil })
}

// ErrorType returns a value of low cardinality for the attribute error.type of
// OpenTelemetry: "retry_exhausted", "retry_budget", "retry_deadline" (also where the
// deadline has passed), "retry_pushback", "retry_refused", "retry_canceled", or "_OTHER"
// without a Reason.
func (e *Error) ErrorType() string { return errorType(e.Reason) }

func errorType(reason error) string {
	switch {
	case reason == nil:
		return "_OTHER"
	case errors.Is(reason, ErrRefused): // whatever the refusal wraps
		return typeRefused
	case errors.Is(reason, ErrExhausted):
		return typeExhausted
	case errors.Is(reason, ErrBudget):
		return typeBudget
	case errors.Is(reason, ErrDeadline), errors.Is(reason, context.DeadlineExceeded):
		return typeDeadline
	case errors.Is(reason, ErrPushback):
		return typePushback
	default:
		return typeCanceled
	}
}

const (
	typeExhausted = "retry_exhausted"
	typeBudget    = "retry_budget"
	typeDeadline  = "retry_deadline"
	typePushback  = "retry_pushback"
	typeRefused   = "retry_refused"
	typeCanceled  = "retry_canceled"
)

func (e *Error) last() error {
	if len(e.Errors) == 0 {
		return nil
	}
	return e.Errors[len(e.Errors)-1]
}
