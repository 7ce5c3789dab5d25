package stability

import (
	"context"
	"errors"
	"fmt"
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

// MarshalText returns what String does.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText accepts "failure", "success" and "ignored".
func (o *Outcome) UnmarshalText(text []byte) error {
	for _, known := range []Outcome{Failure, Success, Ignored} {
		if known.String() == string(text) {
			*o = known
			return nil
		}
	}
	return fmt.Errorf("stability: %.64q is no outcome", text)
}

// A Classifier judges how a call ended. The ctx is the one that the policy was
// given by its caller, and err is what the call returned. It is called on the
// goroutine that ends the call, with no lock held, and may run many times at
// once.
//
// A Classifier decides about overload too: one that returns Ignored where
// [Overloaded] reports true keeps a breaker closed on a dependency that sheds load.
//
// Policies call it through [Classifier.Outcome].
type Classifier func(ctx context.Context, err error) Outcome

// Outcome judges err with c, or with [Classify] when c is nil. A call that did not
// return ([ErrNoReturn]) is a Failure, and an error of [Judge] has its outcome: c is
// not asked about either. A value that is none of the three outcomes is a Failure.
func (c Classifier) Outcome(ctx context.Context, err error) Outcome {
	if c == nil {
		return Classify(ctx, err)
	}
	if err == ErrNoReturn { //nolint:errorlint // The sentinel itself, told by Admission.Run and never wrapped.
		return Failure
	}
	o, decided := decidedOutcome(err)
	if !decided {
		o = c(ctx, err)
	}
	if o <= Ignored {
		return o
	}
	return Failure
}

// Classify is the [Classifier] used where none is given. The first rule that applies
// decides:
//
//   - no error is a Success;
//   - an error of [Judge] has the outcome that it was given;
//   - a call whose ctx its caller canceled is Ignored;
//   - a call that a policy further in refused is Ignored, see [Rejected]: it was never
//     sent;
//   - a call that the other side shed is Ignored, see [Overloaded]: the dependency is
//     alive, and only asks for less;
//   - everything else is a Failure. A deadline that passed is one, because a dependency
//     that hangs until its callers give up is failing.
//
// Where [errors.Join] put a failure beside a refusal or beside overload, the call is a
// Failure.
func Classify(ctx context.Context, err error) Outcome {
	if err == nil {
		return Success
	}
	if err == ErrNoReturn { //nolint:errorlint // The sentinel itself, told by Admission.Run and never wrapped.
		return Failure
	}
	if o, decided := decidedOutcome(err); decided {
		return o
	}
	if errors.Is(ctx.Err(), context.Canceled) || wholly(err, saysNothing) {
		return Ignored
	}
	return Failure
}

// saysNothing reports whether err itself, whatever it wraps, says nothing of whether the
// dependency works.
func saysNothing(err error) bool { return isRejection(err) || isOverload(err) }

// Judge returns err with its outcome decided: every policy takes o for how the call
// ended, and asks no [Classifier]. It is for adapters of a protocol, which know more of
// a call than its error. errors.Is and errors.As find err in what Judge returns, which
// is nil for a Success without an error.
func Judge(o Outcome, err error) error {
	if err == nil {
		switch o {
		case Success:
			return nil
		case Ignored:
			return judgedIgnored
		default:
			return judgedFailure
		}
	}
	return &judged{outcome: o, err: err}
}

// What adapters tell gates most often costs no allocation.
var (
	judgedFailure = &judged{outcome: Failure}
	judgedIgnored = &judged{outcome: Ignored}
)

type judged struct {
	outcome Outcome
	err     error // nil: the outcome is all that is known
}

func (j *judged) Error() string {
	if j.err == nil {
		return "stability: call judged as " + j.outcome.String()
	}
	return j.err.Error()
}

func (j *judged) Unwrap() error { return j.err }

func decidedOutcome(err error) (Outcome, bool) {
	if j, ok := errors.AsType[*judged](err); ok {
		return j.outcome, true
	}
	return Failure, false
}
