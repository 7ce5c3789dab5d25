package flight

import "context"

// A callersContext is what the context of a call derives from: it has the values of
// the first caller, and ends as the context of the last one did. So a breaker inside
// the call can tell a dependency that hangs until the deadlines of all have passed
// from callers who lost interest. The contexts of the standard library end as
// canceled, or at a deadline that is known beforehand.
type callersContext struct {
	context.Context // the first caller's values
	done            chan struct{}
	err             error // written before done is closed
	pass            func()
}

func newCallersContext(first context.Context) *callersContext {
	return &callersContext{Context: context.WithoutCancel(first), done: make(chan struct{})}
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
