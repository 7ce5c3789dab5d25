// Package bulkhead limits how many calls run at the same time, so that one slow
// dependency cannot take every goroutine, connection and byte of memory of its
// callers. Calls past the limit are refused, or wait in a bounded queue, first
// come, first served.
//
// The pattern: Nygard, Release It! (2nd ed., 2018), section 5.3, Bulkheads. It
// counters blocked threads, chain reactions, cascading failures, self-denial attacks
// and unbalanced capacities.
package bulkhead

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrFull is the Reason of every refusal: no permit was free, and the queue was
// full, or the call could not get a permit in the time that it had.
var ErrFull = errors.New("bulkhead: full")

const policy = "bulkhead"

// maxLimit is what the word of a Bulkhead has room for.
const maxLimit = 1<<30 - 1

// Config configures a [Bulkhead]. Limit must be set; the zero value of every other
// field is valid.
type Config struct {
	// Name names the bulkhead in refusals and telemetry. Default "".
	Name string
	// Limit is how many calls may run at the same time, from 1 to 1<<30 - 1. No
	// default.
	Limit int
	// Queue is how many more calls may wait for a permit. Default 0: none waits,
	// and a call that finds no permit is refused at once.
	Queue int
	// MaxWait is how long a call may wait in the queue. Default 0: as long as its
	// context lets it.
	MaxWait time.Duration
	// Classify judges how calls ended, for Stats and telemetry only. Default
	// [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate reports the first field that is not usable, as the error that [New]
// panics with.
func (c Config) Validate() error {
	switch {
	case c.Limit <= 0:
		return errors.New("bulkhead: Config.Limit must be positive")
	case c.Limit > maxLimit:
		return fmt.Errorf("bulkhead: Config.Limit must be at most %d", maxLimit)
	case c.Queue < 0:
		return errors.New("bulkhead: Config.Queue must not be negative")
	case c.MaxWait < 0:
		return errors.New("bulkhead: Config.MaxWait must not be negative")
	case c.MaxWait > 0 && c.Queue == 0:
		return errors.New("bulkhead: Config.MaxWait needs a Config.Queue to wait in")
	}
	return nil
}

// A Bulkhead is a [stability.Gate] that lets at most Limit calls run at the same
// time. A permit belongs to the work: it is held until the call returns (or
// [stability.Pass.Done]), also when the call's context has ended long before.
//
// A nil *Bulkhead runs every call unguarded. All methods may be called by any
// number of goroutines.
type Bulkhead struct {
	*settings

	// word is how many permits are in use, and the flag waiting while calls wait.
	// Without waiters a permit is taken and given back by one compare-and-swap;
	// with them, under mu, so that nobody overtakes the queue.
	word    atomic.Int64
	limit   atomic.Int64
	shelves shelves

	mu    sync.Mutex
	queue queue
	drain drain

	tally telemetry.Tally
	full  stability.Rejection
}

const waiting = 1 << 62

// New returns a bulkhead. It panics with the error of [Config.Validate] when cfg
// is not usable.
func New(cfg Config) *Bulkhead {
	b := newBulkhead(newSettings(cfg), "")
	telemetry.Observe(b.meter, b, func(b *Bulkhead, o metric.Observer) { b.observe(o, b.Stats()) })
	telemetry.Register(b.meter, b, func(b *Bulkhead) stability.Point { return b.point(b.Stats()) })
	return b
}

func newBulkhead(s *settings, key string) *Bulkhead {
	b := &Bulkhead{settings: s}
	b.tally.Sum = s.sum
	b.limit.Store(int64(s.cfg.Limit))
	b.full = stability.Rejection{Policy: policy, Name: s.cfg.Name, Key: key, Reason: ErrFull}
	return b
}

// Run calls fn when a permit is free, or when one became free while the call
// waited in the queue. Otherwise it returns a [stability.Rejection] with the
// Reason [ErrFull]; where the call's context ended while it waited, errors.Is
// finds the context's error in it too. It blocks only in the queue, and does not
// allocate unless it waits there.
func (b *Bulkhead) Run(ctx context.Context, fn func(context.Context) error) error {
	if b == nil {
		return fn(ctx)
	}
	if err := b.acquire(ctx); err != nil {
		return err
	}
	return b.admission().Run(ctx, fn)
}

// Enter is [Bulkhead.Run] for a call that outlives a function: the permit is held
// until Done of the Pass.
func (b *Bulkhead) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := b.Admit(ctx)
	if err != nil {
		return nil, err
	}
	return a.Pass(ctx), nil
}

// Admit implements [stability.Admitter].
func (b *Bulkhead) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if b == nil {
		return ctx, stability.Admission{}, nil
	}
	if err := b.acquire(ctx); err != nil {
		return ctx, stability.Admission{}, err
	}
	return ctx, b.admission(), nil
}

func (b *Bulkhead) admission() stability.Admission {
	return stability.Admission{Gate: (*releaser)(b)}
}

// acquire takes a permit, or returns why not.
func (b *Bulkhead) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.tryAcquire() {
		return nil
	}
	return b.acquireSlow(ctx)
}

// tryAcquire takes a permit if one is free and nobody waits for it.
func (b *Bulkhead) tryAcquire() bool {
	if b.shelves.take() {
		return true
	}
	for collided := false; ; collided = true {
		w := b.word.Load()
		// waiting is larger than any limit.
		if w >= b.limit.Load() {
			return false
		}
		if b.word.CompareAndSwap(w, w+1) {
			if collided {
				b.lend()
			}
			return true
		}
	}
}

// releaser is the side of a Bulkhead that admissions come back to.
type releaser Bulkhead

// Release implements [stability.Releaser].
func (r *releaser) Release(ctx context.Context, _ int64, err error) error {
	b := (*Bulkhead)(r)
	b.release()
	b.tally.Judge(ctx, b.cfg.Classify, err)
	return err
}

func (b *Bulkhead) release() {
	if n := b.shelves.put(); n > 0 && b.word.Add(-n)&waiting != 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// SetLimit changes how many calls may run at the same time. Below what is in use,
// nothing is interrupted: no permit is granted until enough have come back. Above,
// it wakes those who wait. It returns an error, and changes nothing, when limit is
// not from 1 to 1<<30 - 1.
func (b *Bulkhead) SetLimit(limit int) error {
	if b == nil {
		return nil
	}
	if limit <= 0 || limit > maxLimit {
		return fmt.Errorf("bulkhead: limit %d is not from 1 to %d", limit, maxLimit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reclaim()
	b.limit.Store(int64(limit))
	b.grant()
	return nil
}

// Stats is what a [Bulkhead] is doing and has done.
type Stats struct {
	stability.Calls
	Limit      int // permits
	InUse      int // permits in use; above Limit for a while after SetLimit lowered it
	Queued     int // calls waiting
	QueueLimit int // calls that may wait
}

// Stats returns a reading of the moment. It does not block callers for longer than
// it takes to read.
func (b *Bulkhead) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	s := b.now()
	s.Calls = b.tally.Calls()
	return s
}

// now is Stats without the counts.
func (b *Bulkhead) now() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{
		Limit:      int(b.limit.Load()),
		InUse:      int(max(b.word.Load()&^waiting-b.shelves.free(), 0)), // not read at one instant
		Queued:     b.queue.len,
		QueueLimit: b.cfg.Queue,
	}
}

// Do is [Bulkhead.Run] for a function that returns a value. Where the call was
// refused the value is the zero T.
func Do[T any](ctx context.Context, b *Bulkhead, fn func(context.Context) (T, error)) (T, error) {
	ctx, a, err := b.Admit(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return stability.DoAdmitted(ctx, a, fn)
}
