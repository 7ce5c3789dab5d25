// Package ended returns the error of a context that has ended, with the cause that its
// caller gave.
package ended

import (
	"context"
	"errors"
)

// Err returns nil while ctx has not ended, and else an error in which errors.Is finds
// ctx.Err() and the cause that ctx was canceled with (see [context.Cause]). Where the
// context has no cause of its own, Err returns ctx.Err() itself.
func Err(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	return With(ctx, err)
}

// With returns err, which is ctx.Err() or wraps it, with the cause that ctx was canceled
// with. Where that says nothing new, With returns err itself.
func With(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return &caused{err, cause}
}

// Of returns err with the cause that ctx was canceled with, where err says that ctx has
// ended, and else err itself.
func Of(ctx context.Context, err error) error {
	if over := ctx.Err(); err == nil || over == nil || !errors.Is(err, over) {
		return err
	}
	return With(ctx, err)
}

// A caused error is one of a context beside the cause that the context ended for.
type caused struct{ err, cause error }

func (c *caused) Error() string   { return c.err.Error() + ": " + c.cause.Error() }
func (c *caused) Unwrap() []error { return []error{c.err, c.cause} }

// Timeout reports whether a deadline has passed, as net.Error has it.
func (c *caused) Timeout() bool { return errors.Is(c.err, context.DeadlineExceeded) }

// Temporary reports what Timeout does, as the error of a context does.
func (c *caused) Temporary() bool { return c.Timeout() }
