package bulkhead

import (
	"context"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A queue is the calls that wait, first come, first served.
//
// They wait on one channel, whose own queue is their order: a call comes when it gets
// there, which is right after it joined. A grant takes a permit for one call and
// then, with mu no longer held, sends. That wakes who has waited longest; or, while
// all who joined are still on their way, it lies in the buffer for the first of them
// to get there. So a wait allocates nothing of its own, and mu is held for a few
// words.
//
// Which call a grant is for is known when it is received, and not before. What is
// kept is their number: on a channel and on the way to it are as many calls as len
// says, while it is the queue's, and one more for each grant that is not received
// yet. A call that leaves therefore takes one from len. Where the channel is no longer
// the queue's, there is a grant for every call on it, and so for this one, which has
// its permit without receiving it: nobody else will miss what it leaves there.
type queue struct {
	len int // but for those who are granted a permit
	// granted is made for the first call that joins, and given up with the last one
	// in len. It is not kept for the next: under testing/synctest a channel belongs to
	// the bubble it was made in.
	granted chan struct{}
}

// join adds a call and returns what it waits on.
func (q *queue) join() <-chan struct{} {
	if q.len == 0 {
		// A grant holds a permit, so that there is always room for one more. Elements
		// of no size take no memory.
		q.granted = make(chan struct{}, maxLimit)
	}
	q.len++
	return q.granted
}

// acquireSlow takes a permit, if need be after a wait in the queue, or returns a
// Rejection.
func (b *Bulkhead) acquireSlow(ctx context.Context) (*mark, error) {
	// What the context is asked for may be a user's code, and panic. Before the wait it is
	// asked while nothing is taken.
	done := ctx.Done()
	deadline, limited := ctx.Deadline()
	s := stay{timed: b.waited.Enabled(ctx), had: forever, until: forever}
	if limited || s.timed {
		s.began = time.Since(epoch)
	}
	if limited {
		if s.had = time.Until(deadline); s.had <= 0 { // though the context's timer has not fired yet
			return nil, b.reject(ctx, b.refusal(context.DeadlineExceeded))
		}
		s.until = after(s.began, s.had)
	}
	defer onhold.Begin(ctx).End()

	b.mu.Lock()
	if b.limit.Load() == 0 { // the mode was set since the call looked
		b.mu.Unlock()
		return b.acquireInMode(ctx)
	}
	cfg := b.live.Config()
	b.reclaim()
	if b.queue.len == 0 && b.acquireOrFlag(cfg.Queue > 0) {
		b.marked.Add(1)
		b.mu.Unlock()
		return &mark{Context: ctx, b: b}, nil
	}
	if r := b.turnAway(cfg, s); r != nil {
		b.rest() // where nobody waits, the flag was set for this call
		b.mu.Unlock()
		return nil, b.reject(ctx, r)
	}
	granted := b.queue.join()
	if b.stuck(int(b.word.Load() & permits)) { //nolint:gosec // It has no more bits.
		b.unlock(0)
	} else {
		b.mu.Unlock()
	}
	if b.leaves(cfg.MaxWait, done, granted) {
		return nil, b.leave(ctx, s)
	}
	return b.start(ctx, s)
}

// A stay is what is known of a call that waits.
type stay struct {
	began, until time.Duration // since epoch: when it came, and its deadline
	had          time.Duration // until then; forever, as until is, where it has none
	timed        bool          // the wait is reported
}

// turnAway returns why a call may not join the queue, or nil. The caller holds mu.
func (b *Bulkhead) turnAway(cfg *Config, s stay) *stability.Rejection {
	switch {
	case cfg.Queue == 0:
		return &b.full
	case b.queue.len >= cfg.Queue:
		return &b.queueFull
	case s.had == forever && cfg.MaxWait == 0:
		return nil
	}
	wait := b.drain.estimate(b.queue.len + 1)
	if 0 < b.drain.granted && b.drain.readings < minReadings {
		// The queue moves, and no more is known of it. Little's law: as many calls as there
		// are permits end in the time that one takes.
		now := s.began
		if s.had == forever {
			now = time.Since(epoch)
		}
		wait = optimistic(b.work.typical(now), float64(b.queue.len)/float64(b.limit.Load()))
	}
	var reason error
	switch {
	case wait > s.had, b.work.costs(wait, s.had, s.began, false):
		reason = ErrNoTime
	case cfg.MaxWait > 0 && wait > cfg.MaxWait:
		reason = errLongWait
	default:
		return nil
	}
	r := b.full
	r.Reason, r.RetryAfter = reason, wait
	return &r
}

// start is the way on of a call that was granted a permit after a wait.
func (b *Bulkhead) start(ctx context.Context, s stay) (*mark, error) {
	taken := false
	defer func() {
		if !taken { // also where the context panics
			b.marked.Add(-1)
			b.release(0)
		}
	}()
	m := &mark{Context: ctx, b: b}
	m.measured = b.samples()
	if m.measured || s.timed || s.had != forever {
		m.began, m.until = time.Since(epoch), s.until
	}
	if s.timed {
		b.waited.Record(ctx, (m.began - s.began).Seconds(), b.attrs)
	}
	// A call whose context has ended must not start all the same; one that only ran
	// out of MaxWait takes what it was given.
	if err := ctx.Err(); err != nil {
		return nil, b.reject(ctx, b.refusal(ended.With(ctx, err)))
	}
	if b.mode() == stability.ModeOpen {
		return nil, b.reject(ctx, b.forced())
	}
	if s.had != forever {
		b.mu.Lock()
		strict := b.queue.len > 0 && b.drain.granted >= strictAfter*int(b.limit.Load())
		late := m.began >= s.until || b.work.costs(m.began-s.began, s.had, m.began, strict)
		b.mu.Unlock()
		if late {
			return nil, b.reject(ctx, &b.noTime)
		}
	}
	taken = true
	return m, nil
}

// leave is the end of a call that waited in vain.
func (b *Bulkhead) leave(ctx context.Context, s stay) error {
	if s.timed {
		b.waited.Record(ctx, (time.Since(epoch) - s.began).Seconds(), b.attrs)
	}
	if err := ctx.Err(); err != nil {
		return b.reject(ctx, b.refusal(ended.With(ctx, err)))
	}
	return b.reject(ctx, &b.outwaited)
}

// acquireOrFlag takes a permit, or else sets the flag that makes the next release
// look at the queue. It is one compare-and-swap against those of releases: a
// release before it leaves a permit to take, a release after it sees the flag. The
// caller holds mu, and the queue is empty, so that the flag is not set.
func (b *Bulkhead) acquireOrFlag(mayWait bool) bool {
	for {
		w := b.word.Load()
		if uint32(w) < b.limit.Load() { //nolint:gosec // Cuts off the count.
			if b.word.CompareAndSwap(w, w+1) {
				return true
			}
		} else if !mayWait || b.word.CompareAndSwap(w, w|waiting) {
			return false
		}
	}
}

// leaves reports, when a permit was granted or the call's time is over, whether the
// call has left the queue without one.
func (b *Bulkhead) leaves(maxWait time.Duration, done <-chan struct{}, granted <-chan struct{}) bool {
	switch {
	case maxWait > 0:
		over := time.NewTimer(maxWait)
		defer over.Stop()
		select {
		case <-granted:
			return false
		case <-done:
		case <-over.C:
		}
	case done != nil:
		select {
		case <-granted:
			return false
		case <-done:
		}
	default:
		<-granted // there is nothing else to look out for
		return false
	}

	b.mu.Lock()
	if b.queue.granted == granted {
		b.queue.len--
		b.rest()
		b.mu.Unlock()
		return true
	}
	b.mu.Unlock()
	return false
}

// rest forgets the queue when nobody is left in it. The caller holds mu.
func (b *Bulkhead) rest() {
	if b.queue.len == 0 {
		b.word.And(^uint64(waiting))
		b.queue, b.drain = queue{}, drain{}
	}
}

// unlock gives permits back, hands those that are free to who waits longest, and
// unlocks mu.
func (b *Bulkhead) unlock(back int) {
	n, granted := b.grant(back)
	b.mu.Unlock()
	for range n {
		granted <- struct{}{}
	}
}

// grant gives permits back and takes those that are free for who waits longest. The
// caller holds mu, and then sends as many times as it says.
func (b *Bulkhead) grant(back int) (n int, granted chan<- struct{}) {
	if b.queue.len > 0 {
		// The flag is set: nobody takes a permit meanwhile, though some may come back,
		// whose releases come here again.
		inUse := int(b.word.Load()&permits) - back //nolint:gosec // It has no more bits.
		n = max(min(int(b.limit.Load())-inUse, b.queue.len), 0)
		if b.limit.Load() == 0 { // nobody waits in this mode: all are let in, or told so when they start
			n = b.queue.len
		}
		if n == 0 && b.stuck(inUse) {
			n = 1
		}
	}
	if n != back { // mostly one came back, and goes to one who waits
		b.word.Add(uint64(n - back)) //nolint:gosec // Where it is negative, the addition is the subtraction.
	}
	if n > 0 {
		granted = b.queue.granted
		b.marked.Add(int32(n)) //nolint:gosec // No more than there are permits.
		b.queue.len -= n
		b.drain.note(n)
		b.rest()
	}
	return n, granted
}

// stuck reports whether all who hold a permit may be waiting for another one: SetLimit
// left no more permits than there were calls inside without a mark, and as many calls
// wait. Those may be calls within them, and nothing would ever move. So one is let in above
// the limit, and another when that has ended, until there are permits for others again.
// The caller holds mu.
func (b *Bulkhead) stuck(inUse int) bool {
	b.lowered = b.lowered && inUse >= int(b.limit.Load())
	return b.lowered && b.marked.Load() == 0 && b.queue.len >= inUse
}

// refusal is the Rejection of a call whose context ended before it got a permit.
func (b *Bulkhead) refusal(cause error) *stability.Rejection {
	r := b.full
	r.Reason = fmt.Errorf("%w: the call's context ended before it got a permit: %w", ErrFull, cause)
	return &r
}

func (b *Bulkhead) reject(ctx context.Context, r *stability.Rejection) error {
	b.tally.CountRejected()
	telemetry.Rejected(ctx, r)
	return r
}

// A drain is how fast the queue has been emptying for as long as it was never
// empty.
type drain struct {
	read     time.Duration // the clock's last reading, since epoch
	interval time.Duration // between grants, exponentially weighted
	longest  time.Duration // the longest interval, as it was
	readings int           // at most minReadings
	stalled  bool          // the last interval is the longest
	grants   int           // since the last reading
	granted  int           // in all
}

const (
	// minReadings is how often the clock must have been read for an estimate.
	minReadings = 9
	// strictAfter is how many calls a permit must have been granted, one after the other,
	// until a queue counts as one that does not empty.
	strictAfter = 8
	// optimism is how much faster than lately the queue may get before a call
	// that was refused for its deadline would have made it.
	optimism = 2
	// brisk is the interval below which a reading of the clock is a noticeable part
	// of it. The clock is then read at one in stride grants, and at the next after a
	// stall: a queue that turns slow is noticed so many and one later at the latest.
	brisk  = 10 * time.Microsecond
	stride = 8
)

// epoch is what readings of the clock count from: the monotonic clock alone costs
// half as much to read as the time of day with it.
var epoch = time.Now()

// note notes n grants at once.
func (d *drain) note(n int) {
	d.granted += n
	d.grants += n
	if d.readings >= minReadings && d.interval < brisk && !d.stalled && d.grants < stride {
		return
	}
	now := time.Since(epoch)
	interval := (now - d.read) / time.Duration(d.grants)
	switch d.readings {
	case 0:
		interval = 0 // there is none
	case 1:
		d.interval = interval
	default:
		// One that is longer than all before counts as the longest of them: a dependency
		// that stands still for a moment has not become slow, until it comes again.
		d.interval += (min(interval, d.longest) - d.interval) / 4
	}
	d.stalled = interval > d.longest
	d.longest = max(d.longest, interval)
	d.read, d.grants = now, 0
	d.readings = min(d.readings+1, minReadings)
}

// estimate returns the least time that the call at the given place in the queue
// will wait, or 0 when that is not known. An order of service is no promise, so
// the queue is taken to drain faster than it did.
func (d *drain) estimate(place int) time.Duration {
	if d.readings < minReadings {
		return 0
	}
	return optimistic(d.interval, float64(place))
}

// optimistic returns the least that n times d may be.
func optimistic(d time.Duration, n float64) time.Duration {
	return time.Duration(min(float64(d)/optimism*n, float64(1<<62)))
}
