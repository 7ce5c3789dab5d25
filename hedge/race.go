package hedge

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/retry"
)

// A race is the calls that are made for one.
type race[T any] struct {
	hedge   *Hedge
	cfg     *Config         // as it was when the race began
	caller  context.Context // what the caller gave
	ctx     context.Context // what the calls' contexts are made of
	fn      func(context.Context) (T, error)
	dispose []func(T)
	budget  *retry.Budget
	// latencies are those of the call's key; nil: none are kept.
	latencies *latencies
	began     time.Time // read only where latencies are kept

	// pending is the goroutines of the race: one for each call but the first, and
	// one for the timer while it is set.
	pending sync.WaitGroup

	mu      sync.Mutex
	calls   []*call[T] // in the order in which they were started
	running int
	waiting int           // of those that run, how many wait on the caller's own side
	timer   *time.Timer   // starts the next call; nil: not set
	setting int           // how often the timer was set
	due     time.Time     // when the timer goes off
	delay   time.Duration // that it was set for
	left    time.Duration // until then, while the newest call waits and there is no timer
	paused  bool          // there is no timer because the newest call waits
	over    bool          // no call is started, and none wins, any more
	winner  *call[T]
	crash   *crash
	counted bool
}

// A call is one of a race, and the context that it is made under. What follows the
// number is guarded by mu.
type call[T any] struct {
	context.Context

	race    *race[T]
	cancel  context.CancelCauseFunc
	number  int
	ended   bool // it returned v and err
	v       T
	err     error
	lost    bool // the race ended before
	dropped bool // v has gone to the disposers

	waits  int           // under way
	since  time.Time     // when the first of them began
	waited time.Duration // in those that are over
}

// Value implements [context.Context].
func (c *call[T]) Value(key any) any {
	if key == (onhold.Key{}) {
		return c
	}
	return c.Context.Value(key)
}

// A crash is how a call ended that did not return, on a goroutine of the race.
type crash struct{ value any } // nil: runtime.Goexit

func (r *race[T]) run() (v T, release context.CancelFunc, err error) {
	r.latencies = r.hedge.of(r.caller, r.cfg)
	r.budget = r.cfg.Budget.For(r.caller)
	r.ctx = r.budget.Earn(r.caller)
	if r.latencies != nil {
		r.began = time.Now()
	}
	first := r.start()
	settled := false
	defer func() {
		if !settled {
			r.abandon()
		}
	}()
	r.mu.Lock()
	r.arm()
	r.mu.Unlock()
	v, err = r.fn(first)
	r.end(first, v, err)
	r.pending.Wait()

	// Nothing of the race runs any more.
	if r.crash != nil {
		settled = true
		r.abandon()
		r.crash.pass()
	}
	result := r.winner
	switch result {
	case first:
	case nil:
		result = r.loser()
	default:
		r.hedge.won.Add(1)
	}
	r.count(result.err)
	r.drop(result)
	settled = true
	return result.v, func() { result.cancel(nil) }, ended.Of(r.caller, result.err)
}

// start makes a call and its context. The caller holds mu, or is alone.
func (r *race[T]) start() *call[T] {
	c := &call[T]{race: r, number: len(r.calls) + 1}
	c.Context, c.cancel = context.WithCancelCause(r.ctx)
	r.calls = append(r.calls, c)
	r.running++
	return c
}

// arm sets the timer for the next call, if there is to be one. The caller holds
// mu.
func (r *race[T]) arm() {
	if len(r.calls) < r.cfg.Max {
		delay := r.cfg.delay(r.latencies)
		r.set(delay, delay)
	}
}

// set sets the timer for the next call to go off after what is left of the delay. The
// caller holds mu.
func (r *race[T]) set(left, delay time.Duration) {
	r.pending.Add(1)
	r.due, r.delay = time.Now().Add(left), delay
	r.setting++
	setting := r.setting
	r.timer = time.AfterFunc(left, func() { r.join(setting) })
}

// stop stops the timer, if it is set. The caller holds mu.
func (r *race[T]) stop() {
	if r.timer != nil && r.timer.Stop() {
		r.pending.Done() // of the goroutine that now does not start
	}
	r.timer = nil
}

// join makes another call beside those that run, when the timer goes off.
func (r *race[T]) join(setting int) {
	defer r.pending.Done()
	r.mu.Lock()
	if r.timer == nil || r.setting != setting || r.ctx.Err() != nil { // stopped as it went off
		r.mu.Unlock()
		return
	}
	r.timer = nil
	delay := r.delay
	if !r.budget.Spend() {
		r.mu.Unlock()
		r.hedge.suppressed.Add(1)
		return
	}
	c := r.start()
	r.arm()
	r.mu.Unlock()
	r.hedge.started.Add(1)
	r.hedge.event(r.caller, c.number, delay)

	returned := false
	defer func() {
		if !returned {
			r.crashed(&crash{recover()})
		}
	}()
	v, err := r.fn(c)
	returned = true
	r.end(c, v, err)
}

// Detached returns nil: what is done for several callers is no call of this race.
func (c *call[T]) Detached() any { return nil }

// Wait implements [onhold.Call]: the call has not been sent, or is held up on the
// caller's own side.
func (c *call[T]) Wait() {
	r := c.race
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ended {
		return
	}
	c.waits++
	if c.waits > 1 {
		return
	}
	c.since = time.Now()
	r.waiting++
	if c == r.newest() && r.timer != nil {
		r.left = max(r.due.Sub(c.since), 0)
		r.paused = true
		r.stop()
	}
	r.settle()
}

// Go implements [onhold.Call].
func (c *call[T]) Go() {
	r := c.race
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ended {
		return
	}
	c.waits--
	if c.waits > 0 {
		return
	}
	c.waited += time.Since(c.since)
	r.waiting--
	if c == r.newest() && r.paused && !r.over {
		r.paused = false
		r.set(r.left, r.delay)
	}
}

func (r *race[T]) newest() *call[T] { return r.calls[len(r.calls)-1] }

// took returns how long the call has been under way, without its waits. The caller holds
// mu.
func (c *call[T]) took(began time.Time) time.Duration {
	now := time.Now()
	took := now.Sub(began) - c.waited
	if c.waits > 0 {
		took -= now.Sub(c.since)
	}
	return took
}

// end takes what a call returned. The first success ends the race, and so does a
// failure when no other call is running.
func (r *race[T]) end(c *call[T], v T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.calls[0]; !r.over && err == nil && r.latencies != nil && !first.ended {
		// A first call that lost would have taken longer still. That it exceeded the
		// delay is what the percentile needs to know of it.
		r.latencies.add(first.took(r.began))
	}
	c.ended, c.v, c.err = true, v, err
	r.running--
	if c.waits > 0 {
		r.waiting--
	}
	if !r.over && err == nil {
		r.winner = c
		r.finish()
	}
	r.settle()
}

// settle ends a race in which a call has failed and no other is under way. One that
// waits on the caller's own side is not: it may wait for what the failed call still
// holds, a permit or a connection. The caller holds mu.
func (r *race[T]) settle() {
	if !r.over && r.running < len(r.calls) && r.running == r.waiting {
		r.finish()
	}
}

// loser returns the call whose error is that of a race without a winner: the first
// one that failed by itself, or one that was refused where there is no other.
func (r *race[T]) loser() *call[T] {
	var refused *call[T]
	for _, c := range r.calls {
		switch {
		case c.lost:
		case !stability.Rejected(c.err):
			return c
		case refused == nil:
			refused = c
		}
	}
	return refused
}

func (r *race[T]) crashed(c *crash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crash = c
	r.finish()
}

// finish lets no further call start and cancels those that run. The caller holds
// mu.
func (r *race[T]) finish() {
	r.over = true
	r.stop()
	for _, c := range r.calls {
		c.lost = c.lost || !c.ended
		if c != r.winner {
			c.cancel(ErrLost)
		}
	}
}

// abandon ends a race that has no result, because a call did not return or a
// function of the user's panicked.
func (r *race[T]) abandon() {
	r.mu.Lock()
	r.winner = nil
	r.finish()
	r.mu.Unlock()
	r.pending.Wait()
	r.count(stability.ErrNoReturn)
	r.drop(nil)
}

// count counts the outcome of the race, once.
func (r *race[T]) count(err error) {
	if !r.counted {
		r.hedge.tally.Count(r.cfg.Classify.Outcome(r.caller, err))
		r.counted = true
	}
}

// drop hands the values of all calls but that of result to the disposers: each
// once, and the others also when a disposer panics.
func (r *race[T]) drop(result *call[T]) {
	for _, c := range r.calls {
		if c == result || !c.ended || c.err != nil || c.dropped {
			continue
		}
		c.dropped = true
		defer r.drop(result)
		for _, dispose := range r.dispose {
			if dispose != nil {
				dispose(c.v)
			}
		}
		return
	}
}

// pass ends the caller's goroutine as the call ended its own.
func (c *crash) pass() {
	if c.value == nil {
		runtime.Goexit()
	}
	panic(c.value)
}
