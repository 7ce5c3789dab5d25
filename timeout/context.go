package timeout

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A deadlineCtx is parent with an earlier deadline, and behaves as the context of
// [context.WithDeadlineCause] does. But the timer, the channel and the place among
// the children of parent, which are most of what such a context costs, are made
// only for those who need them: whoever asks for Done, and whoever looks up the
// *cancelCtx inside, which the context package does for Cause, AfterFunc and every
// context derived from this one. A call that sees to its own time (a socket with a
// deadline, a computation that looks at Err now and then) or ends before it ever
// waits pays for one small allocation: this one. It cannot be spared, nor reused
// for another call, because fn may keep its context for ever.
//
// After the release the context has ended. How, is settled by the first look that
// finds it ended: what nobody saw before the release is Canceled, and where both
// the parent has ended and the deadline has passed unseen, it ended with the
// parent.
type deadlineCtx struct {
	parent   context.Context
	deadline time.Time
	t        *Timeout
	after    time.Duration

	// standard is nil while nobody needed it and nobody released the context. Set
	// once, it answers for Done, Err and the *cancelCtx.
	standard atomic.Pointer[standardCtx]
}

// A standardCtx is a context made by the context package.
type standardCtx struct {
	context.Context
	cancel context.CancelFunc
	cause  Error // that it has when the deadline ended it
}

// released is what all contexts have become that nobody needed by the time of their
// release. It is canceled and has no children, for ever.
var released = func() *standardCtx {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &standardCtx{Context: ctx, cancel: cancel}
}()

// cancelCtxKey is the key, private to the context package, under which a context
// returns the *cancelCtx inside it. Cause looks it up in any context that has
// ended, and that is how it comes to be known here. Should a later release look up
// nothing, or another key elsewhere, then contexts are derived from this one as
// from any foreign context: with a goroutine each, but correctly.
var cancelCtxKey = func() any {
	p := &keyProbe{Context: context.Background()}
	_ = context.Cause(p)
	return p.key
}()

type keyProbe struct {
	context.Context
	key any
}

func (*keyProbe) Err() error { return context.Canceled }

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// Deadline implements [context.Context].
func (c *deadlineCtx) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements [context.Context].
func (c *deadlineCtx) Done() <-chan struct{} { return c.arm().Done() }

// Err implements [context.Context]. It arms where the answer is not nil, so that
// Done, Cause and every later Err agree with it.
func (c *deadlineCtx) Err() error {
	s := c.standard.Load()
	if s == nil {
		if c.parent.Err() == nil && time.Now().Before(c.deadline) {
			return nil
		}
		s = c.arm()
	}
	return s.Err()
}

// Value implements [context.Context].
func (c *deadlineCtx) Value(key any) any {
	if key == cancelCtxKey {
		if v := c.arm().Value(key); v != nil {
			return v
		}
	}
	return c.parent.Value(key)
}

// String names the context as those of the context package do. Without it, fmt
// would read the fields while others write them.
func (c *deadlineCtx) String() string {
	parent, ok := c.parent.(fmt.Stringer)
	if !ok {
		return fmt.Sprintf("%T.WithDeadline(%v)", c.parent, c.deadline)
	}
	return fmt.Sprintf("%v.WithDeadline(%v)", parent, c.deadline)
}

// arm returns the standard context, made now if there is none.
func (c *deadlineCtx) arm() *standardCtx {
	if s := c.standard.Load(); s != nil {
		return s
	}
	s := &standardCtx{cause: c.t.makeError(c.after, nil)}
	s.Context, s.cancel = context.WithDeadlineCause(c.parent, c.deadline, &s.cause)
	if !c.standard.CompareAndSwap(nil, s) {
		s.cancel() // somebody else armed or released at the same time
	}
	return c.standard.Load()
}

// exceeded reports whether the deadline ended the context, and not its parent nor
// the release. A parent that another timeout ended does not count.
func (c *deadlineCtx) exceeded() bool {
	if c.Err() == nil {
		return false
	}
	s := c.standard.Load()                             // armed: Err was not nil
	return context.Cause(s.Context) == error(&s.cause) //nolint:errorlint // Ours itself, not that of another timeout.
}

// release ends the context and takes its timer and its place in the parent back.
func (c *deadlineCtx) release() {
	if !c.standard.CompareAndSwap(nil, released) {
		c.standard.Load().cancel()
	}
}
