package stabilityhttp

import (
	"context"
	"sync"
	"time"
)

// A clock is the context that an attempt runs under. It ends with its parent, at
// the deadline of the whole call, or when the attempt has waited for the server for
// longer than its patience at a stretch.
//
// It stands in for a context.WithDeadline inside a context.WithCancelCause and a
// timer, which would cost more allocations than all the rest of a Transport, and
// could not tell waiting for the server from waiting for the caller. It knows
// AfterFunc, so that the contexts which net/http derives from it need no goroutine.
type clock struct {
	context.Context               // its values
	deadline        time.Time     // of the call, never later than the caller's; zero: none
	patience        time.Duration // 0: endless
	owner           *attempt      // is told when the context ends before the attempt

	mu       sync.Mutex
	parent   context.Context // it ends when that does
	limit    time.Time       // when the timer ends the context; zero: it does not, the parent may
	hurried  bool            // limit is not that of the call
	since    time.Time       // when the present wait for the server began; zero: none
	answered bool            // the headers have come
	err      error
	cause    cause
	done     chan struct{} // nil until somebody asks
	timer    *time.Timer   // nil until somebody asks for done
	rings    time.Time     // when timer does; zero: it does not
	unhook   func() bool   // from the parent
	hooks    []func()
	first    [1]func() // room for hooks
}

// cause is what ended a clock.
type cause uint8

const (
	byOthers cause = iota // the caller, or the end of the attempt
	byLimit               // the Transport's deadline for the call
	byPatience
)

// Deadline implements [context.Context].
func (c *clock) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements [context.Context].
func (c *clock) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
			return c.done
		}
		c.hook()
		c.wind()
	}
	return c.done
}

// Err implements [context.Context]. Until somebody asks for Done there is no timer,
// and it looks at the time itself; but not for the gates, which wait on Done if they
// wait.
func (c *clock) Err() error {
	c.mu.Lock()
	if c.err == nil && c.done == nil {
		if err := c.parent.Err(); err != nil {
			c.mu.Unlock()
			return err
		}
		if c.owner.sent {
			if by, over := c.over(time.Now()); over {
				c.endLocked(context.DeadlineExceeded, by)
				c.mu.Lock()
			}
		}
	}
	defer c.mu.Unlock()
	return c.err
}

// hook waits for the parent.
func (c *clock) hook() {
	if c.parent.Done() != nil {
		c.unhook = context.AfterFunc(c.parent, c.parentEnded)
	}
}

// adopt gives the context another parent, and reports whether it came before the
// former one's end.
func (c *clock) adopt(parent context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.parent.Err() != nil || c.unhook != nil && !c.unhook() {
		return false
	}
	c.parent, c.unhook = parent, nil
	if c.done != nil {
		c.hook()
	}
	return true
}

// AfterFunc is how the context package passes the end of a context which is not
// its own on to those derived from it, and nobody else calls it. It gives them no
// way to be forgotten: they are a few, the base's own, and go with the attempt.
func (c *clock) AfterFunc(f func()) (stop func() bool) {
	c.Done() // the clock has to run
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return cannotStop
	}
	if c.hooks == nil {
		c.hooks = c.first[:0]
	}
	c.hooks = append(c.hooks, f)
	return cannotStop
}

func cannotStop() bool { return false }

// wait notes that the attempt waits for the server from now on. An upload that runs
// on after the answer does not ask for it.
func (c *clock) wait(answered bool) {
	if c.patience == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered != answered {
		return
	}
	c.since = time.Now()
	if c.done != nil && c.err == nil && (c.rings.IsZero() || c.rings.Sub(c.since) > c.patience) {
		c.wind()
	}
}

// rest notes that the attempt does not wait for the server any more, and reports
// whether the context has ended. The timer runs on, because to stop it and start it
// again for every piece of a body costs more than to let it ring for nothing.
func (c *clock) rest(answered bool) (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered == answered {
		c.since = time.Time{}
	}
	return c.err != nil
}

// answer notes that the headers have come.
func (c *clock) answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.since = true, time.Time{}
}

// stop leaves the context to its parent.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.since, c.limit = true, time.Time{}, time.Time{}
}

// wind sets the timer to the next moment at which the clock may have to end.
func (c *clock) wind() {
	next := c.limit
	if !c.since.IsZero() {
		if end := c.since.Add(c.patience); next.IsZero() || end.Before(next) {
			next = end
		}
	}
	c.rings = next
	switch {
	case next.IsZero():
	case c.timer == nil:
		c.timer = time.AfterFunc(time.Until(next), c.ring)
	default:
		c.timer.Reset(time.Until(next))
	}
}

func (c *clock) ring() {
	c.mu.Lock()
	if c.err == nil {
		if by, over := c.over(time.Now()); over {
			c.endLocked(context.DeadlineExceeded, by)
			return
		}
		c.wind()
	}
	c.mu.Unlock()
}

// over reports whether the time is over, and what for.
func (c *clock) over(now time.Time) (by cause, over bool) {
	switch {
	case !c.limit.IsZero() && !now.Before(c.limit):
		if c.hurried {
			return byOthers, true
		}
		return byLimit, true
	case !c.since.IsZero() && now.Sub(c.since) >= c.patience:
		return byPatience, true
	}
	return byOthers, false
}

func (c *clock) parentEnded() {
	c.mu.Lock()
	c.endLocked(c.parent.Err(), byOthers)
}

// end ends the context together with the attempt.
func (c *clock) end() {
	c.mu.Lock()
	c.endLocked(context.Canceled, byOthers)
}

// endLocked ends the context, once, and unlocks mu.
func (c *clock) endLocked(err error, by cause) {
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.cause = err, by
	if c.done != nil {
		close(c.done)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	hooks, unhook := c.hooks, c.unhook
	c.hooks = nil
	c.mu.Unlock()

	if unhook != nil {
		unhook()
	}
	for _, f := range hooks {
		f()
	}
	c.owner.contextEnded()
}

// ended returns what ended the context.
func (c *clock) ended() cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// hurry makes the context end within d, whatever it was to wait for. That is none of
// the Transport's time limits.
func (c *clock) hurry(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if end := time.Now().Add(d); c.limit.IsZero() || end.Before(c.limit) {
		c.limit, c.hurried = end, true
	}
	c.wind()
}

// String names the context as those of the context package do. Without it, fmt
// would read the fields while others write them.
func (c *clock) String() string { return "stabilityhttp.attempt" }
