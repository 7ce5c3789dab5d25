// Package refusal tells a call that was refused from one that was refused after all:
// after it had been made.
package refusal

import (
	"errors"
	"time"

	"github.com/crumplezone/stability"
)

// AfterCall is the error of a refusal that came when the call had been made before. It
// is Err in all but [stability.ErrRejected], and no [stability.Rejection], which both
// say that nothing was sent.
type AfterCall struct{ Err error }

// Error returns the text of Err.
func (a AfterCall) Error() string { return a.Err.Error() }

// Is reports whether target is in Err.
func (a AfterCall) Is(target error) bool {
	return target != stability.ErrRejected && errors.Is(a.Err, target) //nolint:errorlint // The sentinel itself.
}

// Pushback tells [stability.RetryAfter] when the refusal is over.
func (a AfterCall) Pushback() time.Duration { return stability.RetryAfter(a.Err) }
