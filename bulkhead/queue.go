package bulkhead

import (
	"context"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
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
func (b *Bulkhead) acquireSlow(ctx context.Context) error {
	patience := b.cfg.MaxWait // 0: without end
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); patience == 0 || left < patience {
			patience = left
			if left <= 0 { // passed, though the context's timer has not fired yet
				return b.reject(ctx, b.refusal(context.DeadlineExceeded))
			}
		}
	}
	var began time.Time
	timed := b.waited.Enabled(ctx) // else nobody wants the clock read
	if timed {
		began = time.Now()
	}

	b.mu.Lock()
	b.reclaim()
	if b.queue.len == 0 && b.acquireOrFlag() {
		b.mu.Unlock()
		return nil
	}
	if b.queue.len >= b.cfg.Queue {
		b.mu.Unlock()
		return b.reject(ctx, &b.full)
	}
	if patience > 0 {
		if wait := b.drain.estimate(b.queue.len + 1); wait > patience {
			b.mu.Unlock()
			r := b.full
			r.RetryAfter = wait
			return b.reject(ctx, &r)
		}
	}
	granted := b.queue.join()
	b.mu.Unlock()
	defer onhold.Begin(ctx).End()
	if patience == 0 && !timed && ctx.Done() == nil {
		<-granted // there is nothing else to look out for
		return nil
	}

	err := b.wait(ctx, granted)
	if timed {
		b.waited.Record(ctx, time.Since(began).Seconds(), b.attrs)
	}
	if err != nil {
		return b.reject(ctx, err)
	}
	return nil
}

// acquireOrFlag takes a permit, or else sets the flag that makes the next release
// look at the queue. It is one compare-and-swap against those of releases: a
// release before it leaves a permit to take, a release after it sees the flag. The
// caller holds mu, and the queue is empty, so that the flag is not set.
func (b *Bulkhead) acquireOrFlag() bool {
	for {
		w := b.word.Load()
		if uint32(w) < b.limit.Load() { //nolint:gosec // Cuts off the count.
			if b.word.CompareAndSwap(w, w+1) {
				return true
			}
		} else if b.cfg.Queue == 0 || b.word.CompareAndSwap(w, w|waiting) {
			return false
		}
	}
}

// wait returns when the call has a permit, or without one when its time is over.
func (b *Bulkhead) wait(ctx context.Context, granted <-chan struct{}) *stability.Rejection {
	if b.leaves(ctx, granted) {
		if err := ctx.Err(); err != nil {
			return b.refusal(err)
		}
		return &b.full
	}
	// A call whose context has ended must not start all the same; one that only ran
	// out of MaxWait takes what it was given.
	if err := ctx.Err(); err != nil {
		b.release(0)
		return b.refusal(err)
	}
	return nil
}

// leaves reports, when a permit was granted or the call's time is over, whether the
// call has left the queue without one.
func (b *Bulkhead) leaves(ctx context.Context, granted <-chan struct{}) bool {
	if b.cfg.MaxWait == 0 {
		select {
		case <-granted:
			return false
		case <-ctx.Done():
		}
	} else {
		over := time.NewTimer(b.cfg.MaxWait)
		defer over.Stop()
		select {
		case <-granted:
			return false
		case <-ctx.Done():
		case <-over.C:
		}
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
		n = max(min(int(b.limit.Load())-int(b.word.Load()&permits)+back, b.queue.len), 0)
	}
	if n != back { // mostly one came back, and goes to one who waits
		b.word.Add(uint64(n - back)) //nolint:gosec // Where it is negative, the addition is the subtraction.
	}
	if n > 0 {
		granted = b.queue.granted
		b.queue.len -= n
		b.drain.granted(n)
		b.rest()
	}
	return n, granted
}

// refusal is the Rejection of a call whose context ended before it got a permit.
func (b *Bulkhead) refusal(cause error) *stability.Rejection {
	r := b.full
	r.Reason = fmt.Errorf("%w: %w", ErrFull, cause)
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
}

const (
	// minReadings is how often the clock must have been read for an estimate.
	minReadings = 9
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

// granted notes n grants at once.
func (d *drain) granted(n int) {
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
	wait := float64(d.interval) / optimism * float64(place)
	return time.Duration(min(wait, float64(1<<62)))
}
