package flight

import (
	"context"

	"github.com/crumplezone/stability/internal/scope"
)

// A callersContext is what the context of a call derives from: it has the values of
// the first caller, and ends as the context of the last one did. So a breaker inside
// the call can tell a dependency that hangs until the deadlines of all have passed
// from callers who lost interest. The contexts of the standard library end as
// canceled, or at a deadline that is known beforehand.
type callersContext struct {
	context.Context // the first caller's values
	flights         any
	key             string
	landed          chan struct{} // closed when the call has ended
	done            chan struct{}
	err             error // written before done is closed
	pass            func()
}

func newCallersContext(first context.Context, flights any, key string, landed chan struct{}) *callersContext {
	return &callersContext{Context: context.WithoutCancel(first), done: make(chan struct{}), flights: flights, key: key, landed: landed}
}

type withinKey struct{}

// Value implements [context.Context]: the values of the first caller, but for those of his
// call alone.
func (c *callersContext) Value(key any) any {
	if key == (withinKey{}) {
		return c
	}
	return scope.Value(c.Context, key)
}

// within reports whether ctx is that of the call for the key, or of one that it makes.
func within(ctx context.Context, flights any, key string) bool {
	c, _ := ctx.Value(withinKey{}).(*callersContext)
	for ; c != nil; c, _ = c.Context.Value(withinKey{}).(*callersContext) {
		if c.flights != flights || c.key != key {
			continue
		}
		select {
		case <-c.landed: // and its context was kept
		default:
			return true
		}
	}
	return false
}

// Done implements [context.Context].
func (c *callersContext) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *callersContext) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// AfterFunc is how the context package passes the end on to a context derived from
// this one without a goroutine. There is one, the call's, and all others derive from
// that.
func (c *callersContext) AfterFunc(pass func()) (stop func() bool) {
	c.pass = pass
	return func() bool { return false }
}

// end ends the context. It is called once at the most.
func (c *callersContext) end(err error) {
	c.err = err
	close(c.done)
	c.pass()
}
