package timeout

import (
	"context"
	"time"

	"github.com/crumplezone/stability"
)

// An Error is the error of a call that failed after the policy's deadline had
// passed, and the [context.Cause] of its context. errors.Is finds in it
// [ErrExceeded], [context.DeadlineExceeded] and the call's own error.
//
// It is no [stability.Rejection]: the call was sent, and what it did is not known.
type Error struct {
	Name  string        // the policy's Config.Name
	Key   string        // the member of a Group; "" outside a Group
	After time.Duration // how long the call was given
	Err   error         // what the call returned; nil in a Cause
}

func (t *Timeout) makeError(after time.Duration, err error) Error {
	return Error{Name: t.name, Key: t.key, After: after, Err: err}
}

// Error names the policy, how long the call was given, and the call's own error. It quotes
// and shortens Name and Key as that of a [stability.Rejection] does.
func (e *Error) Error() string {
	// Begins as a refusal does, which quotes and shortens what others chose.
	s := (&stability.Rejection{Name: e.Name, Key: e.Key, Reason: ErrExceeded}).Error() + " " + e.After.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what errors.Is and errors.As find in the error.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrExceeded, context.DeadlineExceeded}
	}
	return []error{ErrExceeded, context.DeadlineExceeded, e.Err}
}

// Timeout returns true, as the method of [net.Error] does where time was up.
func (e *Error) Timeout() bool { return true }

// Temporary returns true, as that of [context.DeadlineExceeded] does; [net.Error] has it.
func (e *Error) Temporary() bool { return true }

// ErrorType returns "timeout_exceeded", the attribute error.type of OpenTelemetry
// for such a failure.
func (e *Error) ErrorType() string { return exceededType }
