package hedge

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// A race is the calls that are made for one.
type race[T any] struct {
	hedge   *Hedge
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
	timer   *time.Timer // starts the next call; nil: not set
	over    bool        // no call is started, and none wins, any more
	winner  *call[T]
	crash   *crash
	counted bool
}

// A call is one of a race. Its result is written with mu held.
type call[T any] struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	number  int
	ended   bool // it returned v and err
	v       T
	err     error
	dropped bool // v has gone to the disposers
}

// A crash is how a call ended that did not return, on a goroutine of the race.
type crash struct{ value any } // nil: runtime.Goexit

func (r *race[T]) run() (v T, release context.CancelFunc, err error) {
	r.latencies = r.hedge.of(r.caller)
	r.budget = r.hedge.cfg.Budget.For(r.caller)
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
	v, err = r.fn(first.ctx)
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
	return result.v, func() { result.cancel(nil) }, result.err
}

// start makes a call and its context. The caller holds mu, or is alone.
func (r *race[T]) start() *call[T] {
	c := &call[T]{number: len(r.calls) + 1}
	c.ctx, c.cancel = context.WithCancelCause(r.ctx)
	r.calls = append(r.calls, c)
	r.running++
	return c
}

// arm sets the timer for the next call, if there is to be one. The caller holds
// mu.
func (r *race[T]) arm() {
	if len(r.calls) < r.hedge.cfg.Max {
		delay := r.hedge.delay(r.latencies)
		r.pending.Add(1)
		r.timer = time.AfterFunc(delay, func() { r.join(delay) })
	}
}

// join makes another call beside those that run.
func (r *race[T]) join(delay time.Duration) {
	defer r.pending.Done()
	r.mu.Lock()
	r.timer = nil
	if r.over || r.ctx.Err() != nil {
		r.mu.Unlock()
		return
	}
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
	v, err := r.fn(c.ctx)
	returned = true
	r.end(c, v, err)
}

// end takes what a call returned. The first success ends the race, and so does a
// failure when no other call is running.
func (r *race[T]) end(c *call[T], v T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.ended, c.v, c.err = true, v, err
	r.running--
	switch {
	case r.over:
	case err == nil:
		r.winner = c
		if first := r.calls[0]; r.latencies != nil && (c == first || !first.ended) {
			// A first call that lost would have taken longer still. That it
			// exceeded the delay is what the percentile needs to know of it.
			r.latencies.add(time.Since(r.began))
		}
		r.finish()
	case r.running == 0:
		r.finish()
	}
}

// loser returns the call whose error is that of a race without a winner: the first
// one, unless it was refused and another was made.
func (r *race[T]) loser() *call[T] {
	for _, c := range r.calls {
		if !stability.Rejected(c.err) {
			return c
		}
	}
	return r.calls[0]
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
	if r.timer != nil && r.timer.Stop() {
		r.pending.Done() // of the goroutine that now does not start
	}
	r.timer = nil
	for _, c := range r.calls {
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
		r.hedge.tally.Count(r.hedge.cfg.Classify.Outcome(r.caller, err))
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
