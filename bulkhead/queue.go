package bulkhead

import (
	"context"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A waiter is a call in the queue. granted is closed, with Bulkhead.mu held, when
// a permit has been taken for it.
type waiter struct {
	granted    chan struct{}
	queued     bool
	prev, next *waiter
}

// A queue is waiters, first come, first served.
type queue struct {
	head, tail *waiter
	len        int
}

func (q *queue) push(w *waiter) {
	w.queued, w.prev = true, q.tail
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.len++
}

func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.queued, w.prev, w.next = false, nil, nil
	q.len--
}

// acquireSlow takes a permit, if need be after a wait in the queue, or returns a
// Rejection.
func (b *Bulkhead) acquireSlow(ctx context.Context) error {
	if b.cfg.Queue == 0 {
		if b.reclaimed() {
			return nil
		}
		return b.reject(ctx, &b.full)
	}
	began := time.Now()
	patience := b.cfg.MaxWait // 0: without end
	if deadline, ok := ctx.Deadline(); ok {
		if left := deadline.Sub(began); patience == 0 || left < patience {
			patience = left
			if left <= 0 { // passed, though the context's timer has not fired yet
				return b.reject(ctx, b.refusal(context.DeadlineExceeded))
			}
		}
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
	if wait := b.drain.estimate(b.queue.len + 1); patience > 0 && wait > patience {
		b.mu.Unlock()
		r := b.full
		r.RetryAfter = wait
		return b.reject(ctx, &r)
	}
	w := &waiter{granted: make(chan struct{})}
	b.queue.push(w)
	b.mu.Unlock()

	err := b.wait(ctx, w)
	if b.waited.Enabled(ctx) {
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
// caller holds mu, and the queue is empty.
func (b *Bulkhead) acquireOrFlag() bool {
	for {
		w := b.word.Load()
		if w&^waiting < b.limit.Load() {
			if b.word.CompareAndSwap(w, w+1) {
				return true
			}
		} else if b.word.CompareAndSwap(w, w|waiting) {
			return false
		}
	}
}

// wait returns when w has a permit, or without one when its time is over.
func (b *Bulkhead) wait(ctx context.Context, w *waiter) *stability.Rejection {
	var over <-chan time.Time
	if b.cfg.MaxWait > 0 {
		t := time.NewTimer(b.cfg.MaxWait)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-w.granted:
		if ctx.Err() == nil {
			return nil
		}
	case <-ctx.Done():
	case <-over:
	}

	b.mu.Lock()
	if w.queued {
		b.queue.remove(w)
		b.grant() // clears the flag when w was the last
		b.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return b.refusal(err)
		}
		return &b.full
	}
	b.mu.Unlock()
	// The grant won the race. A call whose context has ended must not start all
	// the same; one that only ran out of MaxWait takes what it was given.
	if err := ctx.Err(); err != nil {
		b.release()
		return b.refusal(err)
	}
	return nil
}

// grant hands free permits to those who wait longest. The caller holds mu.
func (b *Bulkhead) grant() {
	for w := b.queue.head; w != nil; w = b.queue.head {
		n := b.word.Load()
		if n&^waiting >= b.limit.Load() {
			return // the flag is set: the next release comes here again
		}
		if b.word.CompareAndSwap(n, n+1) {
			b.queue.remove(w)
			b.drain.granted(b.queue.len)
			close(w.granted)
		}
	}
	b.word.And(^int64(waiting))
	b.drain = drain{}
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
	last     time.Time
	interval time.Duration // between grants, exponentially weighted
	grants   int
}

const (
	// minGrants is how many grants must have been seen for an estimate.
	minGrants = 8
	// optimism is how much faster than lately the queue may get before a call
	// that was refused for its deadline would have made it.
	optimism = 2
)

func (d *drain) granted(left int) {
	if left == 0 {
		return // grant resets
	}
	now := time.Now()
	if d.grants > 0 {
		interval := now.Sub(d.last)
		if d.grants == 1 {
			d.interval = interval
		}
		d.interval += (interval - d.interval) / 4
	}
	d.last = now
	d.grants++
}

// estimate returns the least time that the call at the given place in the queue
// will wait, or 0 when that is not known. An order of service is no promise, so
// the queue is taken to drain faster than it did.
func (d *drain) estimate(place int) time.Duration {
	if d.grants <= minGrants {
		return 0
	}
	wait := float64(d.interval) / optimism * float64(place)
	return time.Duration(min(wait, float64(1<<62)))
}
