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

	word    atomic.Uint64
	limit   atomic.Uint32
	shelves shelves

	mu        sync.Mutex
	succeeded uint64 // calls, in addition to those that word and shelves count
	queue     queue
	drain     drain

	tally telemetry.Tally // of calls that are not counted with their permit
	full  stability.Rejection
}

// The word of a Bulkhead has all that an ordinary call changes, so that its way in
// is one atomic operation and its way out another one:
//
//	bits 0 to 29   how many permits are in use
//	bit 30         the flag waiting, set while calls wait
//	bits 32 to 63  how many calls succeeded since the last fold
//
// Without waiters a permit is taken by a compare-and-swap, and an addition gives it
// back and counts the call. With waiters both are done under mu, so that nobody
// overtakes the queue. Only the commonest outcome is counted in this way, that of a
// call without an error which no Classifier of the user's judges.
const (
	permits = maxLimit
	waiting = 1 << 30 // larger than any limit
	success = 1 << 32
	// foldAt is the count of successes at which whoever is to count another one folds.
	// The room above it is for those who saw a smaller count and are just about to add
	// to it: more than there can be goroutines.
	foldAt = success << 30
)

// New returns a bulkhead. It panics with the error of [Config.Validate] when cfg
// is not usable.
func New(cfg Config) *Bulkhead {
	b := new(Bulkhead)
	b.init(newSettings(cfg), "")
	telemetry.Observe(b.meter, b, func(b *Bulkhead, o metric.Observer) { b.observe(o, b.Stats()) })
	telemetry.Register(b.meter, b, func(b *Bulkhead) stability.Point { return b.point(b.Stats()) })
	return b
}

func (b *Bulkhead) init(s *settings, key string) {
	b.settings = s
	b.tally.Sum = s.sum
	b.limit.Store(uint32(s.cfg.Limit)) //nolint:gosec // Validate has seen it.
	b.full = stability.Rejection{Policy: policy, Name: s.cfg.Name, Key: key, Reason: ErrFull}
}

// Run calls fn when a permit is free, or when one became free while the call
// waited in the queue. Otherwise it returns a [stability.Rejection] with the
// Reason [ErrFull]; where the call's context ended while it waited, errors.Is
// finds the context's error in it too. It blocks only in the queue, and does not
// allocate unless it waits there, or is refused for its time.
//
// A call does not join the queue either whose wait would exceed its deadline or
// Config.MaxWait even if the queue emptied twice as fast as lately. The RetryAfter of
// its Rejection is that wait; others have none.
func (b *Bulkhead) Run(ctx context.Context, fn func(context.Context) error) error {
	if b == nil {
		return fn(ctx)
	}
	if err := b.acquire(ctx); err != nil {
		return err
	}
	c := call{b: b, ctx: ctx}
	defer c.abort()
	return c.end(fn(ctx))
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
	return ctx, stability.Admission{Gate: (*releaser)(b)}, nil
}

// acquire takes a permit, or returns why not.
func (b *Bulkhead) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	turn := b.shelves.turn.Load()
	if turn&1 != 0 && b.shelves.take() {
		return nil
	}
	for collided := false; ; collided = true {
		w := b.word.Load()
		if uint32(w) >= b.limit.Load() { //nolint:gosec // Cuts off the count.
			break
		}
		if b.word.CompareAndSwap(w, w+1) {
			if collided {
				b.lend()
			}
			return nil
		}
	}
	// Where no shelf was in use since turn was read, word was the truth.
	if b.cfg.Queue == 0 && turn&1 == 0 && b.shelves.turn.Load() == turn {
		return b.reject(ctx, &b.full)
	}
	return b.acquireSlow(ctx)
}

// releaser is the side of a Bulkhead that admissions come back to.
type releaser Bulkhead

// Release implements [stability.Releaser].
func (r *releaser) Release(ctx context.Context, _ int64, err error) error {
	(*Bulkhead)(r).settle(ctx, err)
	return err
}

// settle gives back the permit of a call that ended, and counts the call.
func (b *Bulkhead) settle(ctx context.Context, err error) {
	if err != nil || b.cfg.Classify != nil {
		b.release(0)
		b.tally.Judge(ctx, b.cfg.Classify, err)
		return
	}
	b.release(success)
	if b.sum != nil {
		b.sum.Count(stability.Success)
	}
}

// release gives a permit back and counts: success or 0.
func (b *Bulkhead) release(count uint64) {
	if b.shelve(count) {
		return
	}
	if b.word.Load()&(waiting|foldAt) == 0 {
		b.giveBack(count)
		return
	}
	b.mu.Lock()
	b.fold()
	b.succeeded += count / success
	b.unlock(1)
}

// giveBack is the release of a call that saw nobody waiting.
func (b *Bulkhead) giveBack(count uint64) {
	if b.word.Add(count-1)&waiting != 0 { // since just now
		b.serve()
	}
}

// serve hands permits that are free to those who wait.
func (b *Bulkhead) serve() {
	b.mu.Lock()
	b.unlock(0)
}

// fold makes room in word for the count of successes. The caller holds mu, as does
// who reads the count.
func (b *Bulkhead) fold() {
	if n := b.word.Load() / success; n >= foldAt/success {
		b.word.Add(-(n * success))
		b.succeeded += n
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
	b.reclaim()
	b.limit.Store(uint32(limit))
	b.unlock(0)
	return nil
}

// Stats is what a [Bulkhead] is doing and has done.
type Stats struct {
	stability.Calls
	Limit      int // permits
	InUse      int // permits in use; above Limit for a while after SetLimit lowered it
	Queued     int // calls waiting
	QueueLimit int // calls that may wait

	// Overflowed is how often Get of a [Group] found no room for a key; 0 of a member.
	Overflowed int64
}

// Stats returns a reading of the moment. It does not block callers for longer than
// it takes to read.
func (b *Bulkhead) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	s := b.now()
	others := b.tally.Calls()
	others.Succeeded += s.Succeeded
	s.Calls = others
	return s
}

// now is Stats without what tally counts.
func (b *Bulkhead) now() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Shelves cannot be read at one instant: a permit that wanders from one to the next
	// would be seen on both, and one that is held all the time on none.
	b.reclaim()
	w := b.word.Load()
	return Stats{
		Calls:      stability.Calls{Succeeded: int64(b.succeeded + w/success)}, //nolint:gosec // It would take centuries.
		Limit:      int(b.limit.Load()),
		InUse:      int(w & permits),
		Queued:     b.queue.len,
		QueueLimit: b.cfg.Queue,
	}
}

// Do is [Bulkhead.Run] for a function that returns a value. Where the call was
// refused the value is the zero T.
func Do[T any](ctx context.Context, b *Bulkhead, fn func(context.Context) (T, error)) (T, error) {
	if b == nil {
		return fn(ctx)
	}
	if err := b.acquire(ctx); err != nil {
		var zero T
		return zero, err
	}
	c := call{b: b, ctx: ctx}
	defer c.abort()
	v, err := fn(ctx)
	return v, c.end(err)
}
