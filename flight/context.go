package flight

import (
	"context"
	"slices"
	"sync"

	"github.com/crumplezone/stability/internal/scope"
)

// A callersContext is what the context of a call derives from: it has the values of
// the first caller, and ends as the context of the last one did. So a breaker inside
// the call can tell a dependency that hangs until the deadlines of all have passed
// from callers who lost interest. The contexts of the standard library end as
// canceled, or at a deadline that is known beforehand.
type callersContext struct {
	context.Context               // the first caller's values
	landed          chan struct{} // closed when the call has ended
	done            chan struct{}
	err             error // written before done is closed
	pass            func()

	awaits []*callersContext // the calls that callers within this one wait for; under awaiting
}

func newCallersContext(first context.Context, landed chan struct{}) *callersContext {
	return &callersContext{Context: context.WithoutCancel(first), done: make(chan struct{}), landed: landed}
}

// awaiting guards which call waits for which, of all Flights. Only callers within a call
// need it.
var awaiting sync.Mutex

// await notes that a caller within c waits for another call from now on, and reports
// whether it may: not where that one waits for c, itself or by way of others.
func (c *callersContext) await(other *callersContext) bool {
	awaiting.Lock()
	defer awaiting.Unlock()
	if other.reaches(c, map[*callersContext]bool{}) {
		return false
	}
	c.awaits = append(c.awaits, other)
	return true
}

// reaches reports whether c waits for the other call, or is it.
func (c *callersContext) reaches(other *callersContext, seen map[*callersContext]bool) bool {
	if c == other {
		return true
	}
	if seen[c] {
		return false
	}
	seen[c] = true
	return slices.ContainsFunc(c.awaits, func(next *callersContext) bool { return next.reaches(other, seen) })
}

// awaited ends what await began.
func (c *callersContext) awaited(other *callersContext) {
	awaiting.Lock()
	defer awaiting.Unlock()
	i := slices.Index(c.awaits, other)
	c.awaits = slices.Delete(c.awaits, i, i+1)
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

// within returns the innermost call that is under way and that ctx belongs to, or nil.
func within(ctx context.Context) *callersContext {
	c, _ := ctx.Value(withinKey{}).(*callersContext)
	for ; c != nil; c, _ = c.Context.Value(withinKey{}).(*callersContext) {
		select {
		case <-c.landed: // and its context was kept
		default:
			return c
		}
	}
	return nil
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
