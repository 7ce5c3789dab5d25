package stabilityhttp

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
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
//
// It measures from when the exchange began, which takes half of what it takes to
// read the time of day, and a third of the room. Done and Err, which the gates and the
// context package ask for several times in a request, take no lock there.
type clock struct {
	context.Context                 // the parent until the attempt is answered
	values          context.Context // outlive a race that the attempt is part of
	owner           *attempt        // is told when the context ends before the attempt
	patience        time.Duration

	adopted  atomic.Bool   // and has outlived it
	state    atomic.Uint32 // one of those below, written under mu
	mu       sync.Mutex
	parent   context.Context // it ends when that does
	limit    time.Duration   // when the timer ends the context; 0: it does not, the parent may
	hurried  bool            // limit is not that of the call
	upgraded bool            // the connection is the caller's
	answered bool            // the headers have come
	file     *os.File        // is sent; nil: none is
	at       int64           // where it was when it was looked at
	resting  *upload         // it waits for the caller to go on with this
	stalled  bool            // it ended while it did
	waiting  bool            // for the server, and not endlessly
	since    time.Duration   // when it began to wait
	reading  int             // calls of Read under way, and those that ended the attempt
	cause    cause
	err      error                // set before state is finished
	done     chan struct{}        // set before state is running
	alarm    *alarm               // nil until there is something to wait for
	rings    time.Duration        // when alarm does; 0: it does not
	unhook   func() bool          // from the parent
	first    func()               // hook; nil: there is none
	hooks    map[*func()]struct{} // more of them, which can be stopped
}

// The states of a clock.
const (
	idle    = iota // it ends with its parent only
	running        // since it was sent, or somebody waited for it
	finished
)

// cause is what ended a clock.
type cause uint8

const (
	byAttempt cause = iota // it is over
	byOthers               // the caller, or somebody in a hurry
	byLimit                // the Transport's deadline for the call
	byPatience
)

// set makes the clock that of an attempt in ctx.
func (c *clock) set(ctx, values context.Context, owner *attempt, patience time.Duration) {
	c.Context, c.parent, c.values, c.owner = ctx, ctx, values, owner
	c.limit, c.patience = owner.x.limit, patience
}

// Value implements [context.Context]. [context.Cause] asks it for who ended the context,
// and the gates for the call that a call is made in.
func (c *clock) Value(key any) any {
	if v := c.owner.passes.value(key); v != nil {
		return v
	}
	if c.adopted.Load() {
		return c.values.Value(key)
	}
	return c.Context.Value(key)
}

func (c *clock) now() time.Duration { return time.Since(c.owner.x.began) }

// Deadline implements [context.Context].
func (c *clock) Deadline() (time.Time, bool) { return c.owner.x.Deadline() }

// Done implements [context.Context].
func (c *clock) Done() <-chan struct{} {
	if c.state.Load() == running {
		return c.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.run(c.now())
	}
	return c.done
}

// Err implements [context.Context]. Before it waits on Done, a gate hears of the
// parent only. Somebody who does not wait hears of a time that is over, and need
// not give the timer the chance to say so.
func (c *clock) Err() error {
	switch c.state.Load() {
	case idle:
		return c.Context.Err()
	case finished:
		return c.err
	}
	c.mu.Lock()
	if c.err == nil {
		if by, over := c.over(c.now()); over {
			c.endLocked(context.DeadlineExceeded, by)
			return c.err
		}
	}
	defer c.mu.Unlock()
	return c.err
}

// run makes the clock run. The caller holds mu, and done is nil.
func (c *clock) run(now time.Duration) {
	c.done = make(chan struct{})
	if c.err != nil {
		close(c.done)
		return
	}
	c.hook()
	c.wind(now)
	c.state.Store(running)
}

// hook waits for the parent.
func (c *clock) hook() {
	if c.parent.Done() != nil && !c.upgraded {
		c.unhook = context.AfterFunc(c.parent, c.theAlarm().ring)
	}
}

// adopt gives the context another parent, and reports whether it came before the
// former one's end.
func (c *clock) adopt(parent context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || !c.upgraded && (c.parent.Err() != nil || c.unhook != nil && !c.unhook()) {
		return false
	}
	c.parent, c.unhook = parent, nil
	c.adopted.Store(true)
	if c.done != nil {
		c.hook()
	}
	return true
}

// AfterFunc is how the context package passes the end of a context which is not
// its own on to those derived from it, and nobody else calls it. The first of them is the
// base's own for the request. It cannot be forgotten, which saves an allocation, and goes
// with the attempt. The others are forgotten when they end: a base may derive one for each
// Read of a body that has no end.
func (c *clock) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.run(c.now())
	}
	switch {
	case c.err != nil:
		go f()
		return cannotStop
	case c.first == nil:
		c.first = f
		return cannotStop
	}
	return c.keep(f)
}

// keep keeps another hook until it is stopped. The caller holds mu.
func (c *clock) keep(f func()) (stop func() bool) {
	if c.hooks == nil {
		c.hooks = make(map[*func()]struct{})
	}
	hook := &f
	c.hooks[hook] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, found := c.hooks[hook]
		delete(c.hooks, hook)
		return found
	}
}

func cannotStop() bool { return false }

// begin notes that the attempt is sent and waits for the server from now on.
func (c *clock) begin() (now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now = c.now()
	c.waiting, c.since = c.patience > 0, now
	switch {
	case c.done == nil: // the base is sure to ask for it
		c.run(now)
	case c.err == nil:
		c.wind(now)
	}
	return now
}

// queue notes that the attempt waits for a connection of the base's pool, and not for the
// server.
func (c *clock) queue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
}

// send notes that the attempt waits for the server: it has a connection, or one is being
// made for it.
func (c *clock) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered && c.resting == nil {
		c.wait()
	}
}

// rest notes that the attempt waits for the caller's upload, and not for the server. It
// returns the error of a context that has ended, with which nobody waits any more.
func (c *clock) rest(u *upload) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered {
		if c.err != nil {
			return c.err
		}
		c.waiting, c.resting = false, u
	}
	return nil
}

// resume notes that the attempt waits for the server again, but for an upload that
// runs on after the answer.
func (c *clock) resume(u *upload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting == u {
		c.resting = nil
	}
	if !c.answered {
		c.wait()
	}
}

// wait notes that the attempt waits for the server from now on. The caller holds mu.
func (c *clock) wait() {
	if c.patience == 0 {
		return
	}
	now := c.now()
	c.waiting, c.since = true, now
	if c.err == nil && (c.rings == 0 || c.rings-now > c.patience) {
		c.wind(now)
	}
}

// answer notes that the headers have come, and reports whether the context ended
// before.
func (c *clock) answer() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.waiting, c.resting = true, false, nil
	return c.err != nil
}

// read notes that the caller reads the body, and waits for the server.
func (c *clock) read() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading++
	c.wait()
}

// hasRead notes that a read which is not the last has come back, and reports whether
// the context has ended. The timer runs on, because to stop it and start it again
// for every piece of a body costs more than to let it ring for nothing.
func (c *clock) hasRead() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading--
	c.waiting = false
	return c.err != nil
}

// isRead reports whether the caller is reading the body.
func (c *clock) isRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reading > 0
}

// upgrade lets the context end with neither its parent nor a deadline, but only with the
// connection, which is the caller's now.
func (c *clock) upgrade() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.waiting, c.resting, c.limit, c.upgraded = true, false, nil, 0, true
	if c.unhook != nil {
		c.unhook()
		c.unhook = nil
	}
}

// wind sets the timer to the next moment at which the clock may have to end.
func (c *clock) wind(now time.Duration) {
	next := c.limit
	if c.waiting {
		if end := c.since + c.patience; next == 0 || end < next {
			next = end
		}
	}
	c.rings = next
	if next != 0 {
		c.theAlarm().set(next - now)
	}
}

// theAlarm returns the clock's alarm. The caller holds mu.
func (c *clock) theAlarm() *alarm {
	if c.alarm == nil {
		c.alarm = newAlarm(c)
	}
	return c.alarm
}

// ring looks whether the parent has ended, or the time is over.
func (c *clock) ring() {
	c.mu.Lock()
	if c.err == nil {
		if err := c.parent.Err(); err != nil && !c.upgraded {
			c.endLocked(err, byOthers)
			return
		}
		now := c.now()
		if by, over := c.over(now); over {
			c.endLocked(context.DeadlineExceeded, by)
			return
		}
		c.wind(now)
	}
	c.mu.Unlock()
}

// over reports whether the time is over, and what for.
func (c *clock) over(now time.Duration) (by cause, over bool) {
	switch {
	case c.limit != 0 && now >= c.limit:
		if c.hurried {
			return byOthers, true
		}
		return byLimit, true
	case c.waiting && now-c.since >= c.patience:
		if c.moves() {
			c.since = now
			return byOthers, false
		}
		return byPatience, true
	}
	return byOthers, false
}

// watch notes that a file is sent, which the server does not stall as long as it moves on.
func (c *clock) watch(file *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = file
	_ = c.moves() // remembers where it is
}

// moves reports whether a file that is sent has moved on since it was last looked at; also
// when it has been closed since, which is its end. The caller holds mu.
func (c *clock) moves() bool {
	if c.file == nil || c.answered {
		return false
	}
	before := c.at
	var err error
	if c.at, err = c.file.Seek(0, io.SeekCurrent); err != nil {
		c.file = nil
		return true
	}
	return c.at != before
}

// end ends the context together with the attempt.
func (c *clock) end() {
	c.mu.Lock()
	c.endLocked(context.Canceled, byAttempt)
}

// endLocked ends the context, once, and unlocks mu.
func (c *clock) endLocked(err error, by cause) {
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.cause = err, by
	c.state.Store(finished)
	if c.done != nil {
		close(c.done)
	}
	if c.alarm != nil {
		c.alarm.free()
		c.alarm = nil
	}
	first, hooks, unhook, unread := c.first, c.hooks, c.unhook, c.answered && c.reading == 0
	c.first, c.hooks = nil, nil
	resting := c.resting
	c.stalled = resting != nil && by != byAttempt
	c.mu.Unlock()

	if unhook != nil {
		unhook()
	}
	if first != nil {
		first()
	}
	for f := range hooks {
		(*f)()
	}
	// A base may wait for a Read that does not look at the context.
	if resting != nil {
		go resting.Close() //nolint:errcheck // Nobody is there to hear of it.
	}
	if unread {
		c.owner.contextEnded()
	}
}

// endedBy returns what ended the context.
func (c *clock) endedBy() cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// uploadStalled reports whether the context ended while it waited for the caller to
// go on with the upload.
func (c *clock) uploadStalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled
}

// hurry makes the context end within d, whatever it was to wait for. That is none of
// the Transport's time limits.
func (c *clock) hurry(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	now := c.now()
	if end := now + d; c.limit == 0 || end < c.limit {
		c.limit, c.hurried = end, true
	}
	c.wind(now)
}

// String names the context as those of the context package do. Without it, fmt
// would read the fields while others write them.
func (c *clock) String() string { return "stabilityhttp.attempt" }
