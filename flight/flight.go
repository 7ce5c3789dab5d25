// Package flight makes one call for all callers who ask for the same thing at the
// same time, so that a value which runs out in a cache, or a dependency that comes
// back, is not met by all of them at once.
//
// It counters the dogpile (Nygard, Release It!, 2nd ed., 2018, section 4.9). The
// pattern is known as singleflight, from groupcache and golang.org/x/sync, and as
// request collapsing (RFC 9111, section 4) or coalescing. The answer to failures with
// the last good value is the stale-if-error of RFC 5861.
//
// It is not built on golang.org/x/sync/singleflight, whose calls know neither who
// waits for them nor a context: they cannot end when the last caller has left. A
// caller who may leave needs its DoChan, where a panic ends the process and a
// runtime.Goexit leaves the callers waiting for ever.
package flight

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/keyed"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

const policy = "flight"

const defaultMaxStale = 1024

// Flights are the calls on their way, at most one for each key that a caller still
// waits for.
//
// A nil *Flights makes every caller's own call. All methods may be called by any
// number of goroutines.
type Flights[T any] struct {
	*settings

	mu      sync.Mutex
	calls   map[string]*call[T]
	strays  map[string]stray
	running int // calls that have not returned, those that nobody waits for included
	kept    shelf[T]

	tally         telemetry.Tally
	shared, stale stripe.Counter
}

// A call is one run of a function for all who wait for it.
type call[T any] struct {
	waiting *callersContext
	ctx     context.Context //nolint:containedctx // The call's own.
	cancel  context.CancelFunc

	// Under Flights.mu.
	callers int
	landed  bool

	// Written before done is closed, and not changed from then on.
	done     chan struct{}
	began    time.Time // the zero time where all had left before
	value    T
	err      error
	degraded *stability.Degraded
	outcome  stability.Outcome
	refused  bool // err is a Rejection
	returned bool
	panicked any // where it has not returned: the panic's value, or nil after a Goexit
}

// A stray is what all callers have left of a key and has not returned.
type stray struct {
	calls int
	gone  time.Time // when the latest call began that found no value since; or zero
}

// New returns flights. It panics with the error of [Config.Validate] when cfg is not
// usable.
func New[T any](cfg Config) *Flights[T] {
	f := &Flights[T]{settings: newSettings(cfg), calls: map[string]*call[T]{}, strays: map[string]stray{}}
	kept := f.live.Config()
	f.kept = shelf[T]{max: kept.MaxStale, maxAge: kept.StaleIfError, byKey: map[string]*good[T]{}}
	telemetry.Observe(f.meter, f, func(f *Flights[T], o metric.Observer) { f.observe(o, f.Stats()) })
	telemetry.Register(f.meter, f, source[T]())
	return f
}

// Do returns what fn returns, called once for all callers of key who are there while
// it runs. So key names all that the answer depends on: the user, his tenant, his language.
// The Degraded is nil exactly where the value is fn's own; else it is the
// last good value of key, no older than Config.StaleIfError, and the Degraded tells
// its age and the error that it stands in for. All callers get the same value, which
// must not be changed.
//
// fn runs on a goroutine of its own. Its ctx has the values of the first caller's and
// ends when the last caller has left, and as that caller's did: a caller whose ctx
// ends leaves with ctx.Err() at once, and only the last one waits until fn, whose ctx
// has just ended, returns; it keeps an answer that came nevertheless, which is a value
// or an error that Config.Classify calls a Success. Who comes after that makes a new
// call. When ctx has ended before, Do returns ctx.Err() and takes no part in a call.
// A caller whose deadline passes, as against one who canceled, gets the kept value if
// there is one.
//
// The ctx of fn has no deadline, since callers with more time than the first may join.
// Put a timeout into fn, so that one caller's patience is not what all depend on.
// A panic of fn reaches every caller with the same value, on the caller's own
// goroutine, and so does a runtime.Goexit.
//
// Calls do not wait for one another in a circle: where fn, with a ctx of its call, asks for its
// own key, or for one whose call waits for it, of whatever Flights, that Do calls its
// function directly, as if it were alone.
func (f *Flights[T]) Do(ctx context.Context, key string, fn func(context.Context) (T, error)) (T, *stability.Degraded, error) {
	if f == nil {
		v, err := fn(ctx)
		return v, nil, err
	}
	var zero T
	if err := ended.Err(ctx); err != nil {
		return zero, nil, err
	}
	if f.live.Load().Mode == stability.ModeOff {
		v, err := fn(ctx)
		return v, nil, err
	}
	key = keyed.Shorten(key)
	outer := within(ctx)
	c := f.join(ctx, outer, key, fn)
	if c == nil {
		v, err := fn(ctx)
		return v, nil, err
	}
	if outer != nil {
		defer outer.awaited(c.waiting)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		left, last := f.leave(ctx, key, c)
		if left && !last {
			return f.late(ctx, key)
		}
		<-c.done
		if last && c.returned && !c.answered() { // mostly with the error of the call's context
			return f.late(ctx, key)
		}
	}
	switch {
	case c.panicked != nil:
		panic(c.panicked)
	case !c.returned:
		runtime.Goexit()
	case c.degraded != nil:
		f.answered(ctx, c.degraded)
	}
	return c.value, c.degraded, c.err
}

// join adds the caller to the call of the key, or starts one. It returns nil where that one
// waits for outer, the call that the caller is within.
func (f *Flights[T]) join(ctx context.Context, outer *callersContext, key string, fn func(context.Context) (T, error)) *call[T] {
	f.mu.Lock()
	c, ok := f.calls[key]
	if ok {
		if outer != nil && !outer.await(c.waiting) {
			f.mu.Unlock()
			return nil
		}
		c.callers++
		f.mu.Unlock()
		f.shared.Add(1)
		telemetry.Event(ctx, "stability.shared", policy, f.name, func() []attribute.KeyValue { return nil })
		return c
	}
	key = strings.Clone(key) // it may be a piece of something large
	c = &call[T]{callers: 1, done: make(chan struct{})}
	c.waiting = newCallersContext(ctx, c.done)
	if outer != nil {
		outer.await(c.waiting)
	}
	c.ctx, c.cancel = context.WithCancel(c.waiting) //nolint:gosec // land calls it.
	f.calls[key] = c
	f.running++
	f.mu.Unlock()
	go f.fly(key, c, fn)
	return c
}

// leave takes a caller away from a call, unless it has landed, and ends the call when
// that was the last caller.
func (f *Flights[T]) leave(ctx context.Context, key string, c *call[T]) (left, last bool) {
	end := ctx.Err() // not under mu: it may be anybody's context
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.landed { // and the key may be the next call's by now
		return false, false
	}
	c.callers--
	if c.callers > 0 {
		return true, false
	}
	delete(f.calls, key) // who comes now must not get this one's cancellation
	s := f.strays[key]
	s.calls++
	f.strays[key] = s
	c.waiting.end(end)
	return true, true
}

// fly makes the call.
func (f *Flights[T]) fly(key string, c *call[T], fn func(context.Context) (T, error)) {
	defer f.land(key, c)
	if c.err = c.ctx.Err(); c.err != nil { // all have left already
		c.returned = true
		return
	}
	c.began = time.Now()
	v, err := fn(c.ctx)
	c.outcome = f.live.Config().Classify.Outcome(c.ctx, err) // may panic, as fn may
	c.refused = stability.Rejected(err)                      // as may a method of err
	c.value, c.err, c.returned = v, err, true
}

// land tells the callers how the call ended. It is what fly defers, so that recover
// sees its panic.
func (f *Flights[T]) land(key string, c *call[T]) {
	if !c.returned {
		c.panicked = recover()
		c.outcome = stability.Failure
	}
	if !c.began.IsZero() {
		f.tally.Count(c.outcome)
	}
	f.mu.Lock()
	f.running--
	c.landed = true
	if c.returned && f.live.Config().StaleIfError > 0 {
		f.settle(key, c)
	}
	if f.calls[key] == c {
		delete(f.calls, key)
	} else if s := f.strays[key]; s.calls > 1 {
		s.calls--
		f.strays[key] = s
	} else {
		delete(f.strays, key)
	}
	f.mu.Unlock()
	c.cancel()
	close(c.done)
}

// settle keeps the value of a call that succeeded, and looks for one where it did not.
// The caller holds mu.
func (f *Flights[T]) settle(key string, c *call[T]) {
	switch {
	case c.err == nil:
		if c.outcome == stability.Success && !f.overtaken(key, c) {
			f.kept.put(key, c.value, c.began)
		}
	case c.answered():
		f.kept.drop(key, c.began)
		if s, ok := f.strays[key]; ok && c.began.After(s.gone) {
			s.gone = c.began
			f.strays[key] = s
		}
	case c.ctx.Err() != nil: // nobody is left to get another value
	case c.outcome == stability.Failure || c.refused:
		if v, age, ok := f.kept.get(key, time.Now()); ok {
			c.value, c.degraded, c.err = v, &stability.Degraded{Cause: c.err, Age: age}, nil
		}
	}
}

// overtaken reports whether the value of a call that all have left is older than the
// answer that there is none. The caller holds mu.
func (f *Flights[T]) overtaken(key string, c *call[T]) bool {
	return f.calls[key] != c && !f.strays[key].gone.Before(c.began)
}

// answered reports whether the call brought a value, or the answer that there is none.
func (c *call[T]) answered() bool {
	return c.err == nil || c.outcome == stability.Success && !c.refused
}

// late is what a caller gets who left a call.
func (f *Flights[T]) late(ctx context.Context, key string) (T, *stability.Degraded, error) {
	var zero T
	err := ended.Err(ctx)
	if f.live.Config().StaleIfError == 0 || errors.Is(err, context.Canceled) {
		return zero, nil, err
	}
	f.mu.Lock()
	v, age, ok := f.kept.get(key, time.Now())
	f.mu.Unlock()
	if !ok {
		return zero, nil, err
	}
	d := &stability.Degraded{Cause: err, Age: age}
	f.answered(ctx, d)
	return v, d, nil
}

// answered counts a caller who got a kept value.
func (f *Flights[T]) answered(ctx context.Context, d *stability.Degraded) {
	f.stale.Add(1)
	telemetry.Event(ctx, "stability.degraded", policy, f.name, func() []attribute.KeyValue {
		kind := "_OTHER"
		var r *stability.Rejection
		if errors.As(d.Cause, &r) {
			kind = r.ErrorType()
		}
		return []attribute.KeyValue{telemetry.KeyError.String(kind)}
	})
}
