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
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrFull is what every refusal is: errors.Is finds it in each. It is itself the Reason
// where no permit was free and no call may wait for one. The other Reasons wrap it and
// say what happened: the queue was full too, no permit came free within MaxWait, the time
// left was too short ([ErrNoTime]), or the call's context ended while it waited, whose
// error errors.Is finds as well.
var ErrFull = stability.NewReason("bulkhead: full")

// ErrNoTime is the Reason of a call that was refused because it could hardly have ended
// before its deadline any more, had it waited, or had it started after it waited.
// errors.Is finds [ErrFull] in it.
var ErrNoTime = fmt.Errorf("%w: too little time left to wait and to work", ErrFull)

var (
	errQueueFull = fmt.Errorf("%w, and so is its queue", ErrFull)
	errWaited    = fmt.Errorf("%w: no permit came free within MaxWait", ErrFull)
	errLongWait  = fmt.Errorf("%w: the wait would be longer than MaxWait", ErrFull)
	errForced    = fmt.Errorf("%w: every call is refused (mode open)", ErrFull)
)

const policy = "bulkhead"

// A Bulkhead is a [stability.Gate] that lets at most Limit calls run at the same
// time. A permit belongs to the work: it is held until the call returns (or
// [stability.Pass.Done]), also when the call's context has ended long before.
//
// A nil *Bulkhead runs every call unguarded. All methods may be called by any
// number of goroutines.
type Bulkhead struct {
	*settings

	word    atomic.Uint64
	limit   atomic.Uint32 // 0 where the mode is not ModeOn: then no permit is free
	own     atomic.Uint32 // what SetLimit said; 0: the Config says it
	shelves shelves
	marked  atomic.Int32 // how many permits are held by calls with a mark

	mu        sync.Mutex
	succeeded uint64 // calls, in addition to those that word and shelves count
	queue     queue
	drain     drain
	work      work
	lowered   bool // limit went as low as what was in use, which may be above it

	tally    telemetry.Tally // of calls that are not counted with their permit
	observed atomic.Int64    // calls that found no permit while nothing was refused
	// Refusals without figures of their own, so that one costs no allocation.
	full, queueFull, outwaited, noTime stability.Rejection
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
	telemetry.Register(b.meter, b, source)
	return b
}

func (b *Bulkhead) init(s *settings, key string) {
	b.settings = s
	b.tally.Sum = s.sum
	if s.mode() == stability.ModeOn {
		b.limit.Store(uint32(s.live.Config().Limit)) //nolint:gosec // Validate has seen it.
	}
	refusal := stability.Rejection{Policy: policy, Name: s.name, Key: key, Reason: ErrFull}
	b.full, b.queueFull, b.outwaited, b.noTime = refusal, refusal, refusal, refusal
	b.queueFull.Reason, b.outwaited.Reason, b.noTime.Reason = errQueueFull, errWaited, ErrNoTime
}

// Run calls fn when a permit is free, or when one became free while the call
// waited in the queue. Otherwise it returns a [stability.Rejection] in which errors.Is
// finds [ErrFull]. It blocks only in the queue.
//
// A call does not join the queue whose wait would exceed Config.MaxWait even if the queue
// emptied twice as fast as lately. Nor does one that after such a wait could hardly end
// before its deadline, going by how long calls took lately; the RetryAfter of these
// refusals is that wait, others have none. When its turn comes, a call that the wait
// has left too little time for its work is refused with [ErrNoTime], and its permit goes
// to the next. A call that need not wait is never refused for its deadline, and a call
// without one is refused for none.
//
// A call that comes from inside one of the bulkhead's own calls, which shows in its
// context, takes a permit that is free, and where there is none it runs under its caller's:
// it does not wait for itself. It holds that permit too, so that it comes back with the
// last of the two. The exception is a caller who came while less than an eighth of the
// permits, or less than half under much traffic, were in use: calls inside of
// that one are like any others. There is none such among fewer than eight permits.
//
// Run does not allocate for a call that comes while so few permits are in use, nor for a refusal without
// a time of its own. Otherwise it makes the one object that tells a call within the call.
func (b *Bulkhead) Run(ctx context.Context, fn func(context.Context) error) error {
	if b == nil {
		return fn(ctx)
	}
	m, err := b.acquire(ctx)
	if err != nil {
		return err
	}
	if m != nil {
		return stability.Admission{Gate: m}.Run(m, fn)
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
	switch m, err := b.acquire(ctx); {
	case err != nil:
		return ctx, stability.Admission{}, err
	case m != nil:
		return m, stability.Admission{Gate: m}, nil
	}
	return ctx, stability.Admission{Gate: (*releaser)(b)}, nil
}

// acquire takes a permit, or returns why not. The call's context is the mark, where it
// returns one.
func (b *Bulkhead) acquire(ctx context.Context) (*mark, error) {
	if err := ctx.Err(); err != nil {
		return nil, ended.With(ctx, err)
	}
	turn := b.shelves.turn.Load()
	if turn&1 != 0 && b.mayUseShelves() && b.shelves.take() {
		return nil, nil
	}
	w, limit := b.word.Load(), b.limit.Load()
	if uint32(w) < limit/markedFrom && b.word.CompareAndSwap(w, w+1) { //nolint:gosec // Cuts off the count.
		return nil, nil
	}
	if limit == 0 {
		return b.acquireInMode(ctx)
	}
	// Where no shelf was in use since turn was read, word was the truth.
	if uint32(w) >= limit && b.live.Config().Queue == 0 && turn&1 == 0 && b.shelves.turn.Load() == turn && ctx.Value(b) == nil { //nolint:gosec // Cuts off the count.
		return nil, b.reject(ctx, &b.full)
	}
	return b.acquireAmongOthers(ctx)
}

// acquireAmongOthers is acquire where somebody else came at the same instant, or many
// permits are in use, or all.
func (b *Bulkhead) acquireAmongOthers(ctx context.Context) (*mark, error) {
	for {
		w, limit := b.word.Load(), b.limit.Load()
		if uint32(w) >= limit { //nolint:gosec // Cuts off the count.
			break
		}
		if uint32(w) >= limit/markedFrom { //nolint:gosec // Cuts off the count.
			if m := b.acquireMarked(ctx); m != nil {
				return m, nil
			}
			break
		}
		if b.word.CompareAndSwap(w, w+1) {
			b.lend()
			return nil, nil
		}
	}
	if within := ctx.Value(b); within != nil {
		if m := b.acquireWithin(ctx, within); m != nil {
			return m, nil
		}
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
	if classify := b.live.Config().Classify; err != nil || classify != nil {
		b.release(0)
		b.tally.Judge(ctx, classify, err)
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

// Do is [Bulkhead.Run] for a function that returns a value. Where the call was
// refused the value is the zero T.
func Do[T any](ctx context.Context, b *Bulkhead, fn func(context.Context) (T, error)) (T, error) {
	if b == nil {
		return fn(ctx)
	}
	m, err := b.acquire(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	if m != nil {
		return stability.DoAdmitted(m, stability.Admission{Gate: m}, fn)
	}
	c := call{b: b, ctx: ctx}
	defer c.abort()
	v, err := fn(ctx)
	return v, c.end(err)
}
