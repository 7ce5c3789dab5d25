package stability

import (
	"errors"
	"reflect"
)

// Overloaded reports whether err says that the other side shed the call because it has
// too much to do: a server's 429, or its 503 with a time to come back. Such a dependency
// is alive. It asks for fewer calls, and [RetryAfter] returns when to come back where it
// said so.
//
// The first error in err's tree with a method
//
//	Overloaded() bool
//
// decides. A [Rejection] of a policy in this process is no overload of the other side:
// the call was not sent.
func Overloaded(err error) bool {
	o, ok := errors.AsType[overload](err)
	return ok && o.Overloaded()
}

type overload interface {
	error
	Overloaded() bool
}

// isOverload reports whether err itself, whatever it wraps, says overload.
func isOverload(err error) bool {
	o, ok := err.(overload) //nolint:errorlint // wholly walks the tree.
	return ok && o.Overloaded()
}

// wholly reports whether err is of a kind in all that it says. [errors.Join] says that
// several things happened, so that all of them must be of the kind: a failure beside a
// refusal is a failure. Every other error that wraps several gives one thing several
// names, of which one is enough.
func wholly(err error, kind func(error) bool) bool {
	for err != nil {
		if kind(err) {
			return true
		}
		switch wrapper := err.(type) { //nolint:errorlint // This is the walk.
		case interface{ Unwrap() error }:
			err = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			joined := reflect.TypeOf(err) == joinType
			for _, err := range wrapper.Unwrap() {
				if err != nil && wholly(err, kind) != joined {
					return !joined
				}
			}
			return joined
		default:
			return false
		}
	}
	return false
}

var joinType = reflect.TypeOf(errors.Join(ErrRejected))
