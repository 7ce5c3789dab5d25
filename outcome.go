package stability

import (
	"context"
	"errors"
)

// An Outcome is how a call ended in the eyes of a policy.
type Outcome uint8

// The outcomes. Failure is the zero value, so that what nobody judged counts
// against the dependency and not for it.
const (
	// Failure: the dependency failed.
	Failure Outcome = iota
	// Success: the dependency answered.
	Success
	// Ignored: the call says nothing about the dependency.
	Ignored
)

// String returns "failure", "success" or "ignored".
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Ignored:
		return "ignored"
	default:
		return "failure"
	}
}

// A Classifier judges how a call ended. The ctx is the one that the policy was
// given by its caller, and err is what the call returned. It is called on the
// goroutine that ends the call, with no lock held, and may run many times at
// once.
//
// Policies call it through [Classifier.Outcome].
type Classifier func(ctx context.Context, err error) Outcome

// Outcome judges err with c, or with [Classify] when c is nil. It does not ask c
// about a call that did not return: [ErrNoReturn] is a Failure. A value that is
// none of the three outcomes is a Failure.
func (c Classifier) Outcome(ctx context.Context, err error) Outcome {
	if c == nil {
		return Classify(ctx, err)
	}
	if err == ErrNoReturn { //nolint:errorlint // The sentinel itself, told by Admission.Run and never wrapped.
		return Failure
	}
	if o := c(ctx, err); o <= Ignored {
		return o
	}
	return Failure
}

// Classify is the [Classifier] used where none is given.
//
// A nil err is a Success. A call whose ctx its caller canceled is Ignored, and so
// is one that ended in a [Rejection], which was refused further in and never
// sent. All else is a Failure, a deadline that passed included: a dependency that
// hangs until its callers give up is failing.
func Classify(ctx context.Context, err error) Outcome {
	switch {
	case err == nil:
		return Success
	case err == ErrNoReturn: //nolint:errorlint // The sentinel itself, told by Admission.Run and never wrapped.
		return Failure
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, ErrRejected):
		return Ignored
	default:
		return Failure
	}
}
