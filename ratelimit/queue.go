package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/internal/telemetry"
)

// A waiter is a call in the queue. It holds no tokens. done is closed, with
// Limiter.mu held, when it has been given them, or a refusal.
type waiter struct {
	n          int32
	latest     time.Duration // waits no longer
	done       chan struct{}
	refusal    *stability.Rejection
	queued     bool
	prev, next *waiter
}

// A queue is waiters, first come, first served. A nil queue is an empty one.
type queue struct {
	head, tail *waiter
	len        int
	demand     int64 // tokens that they wait for
}

// first returns nil where the queue is empty.
func (q *queue) first() *waiter {
	if q == nil {
		return nil
	}
	return q.head
}

func (q *queue) length() int {
	if q == nil {
		return 0
	}
	return q.len
}

// until returns how many tokens are to come until n more than they wait for are there.
func (q *queue) until(n int) int64 {
	if q == nil {
		return int64(n)
	}
	return q.demand + int64(n)
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
	q.demand += int64(w.n)
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
	q.demand -= int64(w.n)
}

func (l *Limiter) now() time.Duration { return time.Since(l.base) }

// enter is the beginning of everything that is done under mu: it takes the lease
// back, reads the clock, and serves those whose tokens have come. The clock is read
// here and not before, so that nobody is held up on the way with an old reading and
// is granted a token of a time long gone.
func (l *Limiter) enter() {
	left := l.unlend()
	// Nothing more is spent now: the room of what was is free from the instant of this
	// reading on, and not before.
	l.advance()
	l.bucket.reclaim(left)
	if l.queue.first() != nil {
		l.serve()
	}
}

// advance reads the clock. Since that is done under mu, a reading before the present
// instant is of another clock, such as that of a test's bubble: what is due stays as far
// off as it was. The caller holds mu.
func (l *Limiter) advance() {
	now := l.now()
	if now < l.bucket.now {
		l.shift(now)
	}
	l.bucket.advance(now)
}

func (l *Limiter) shift(now time.Duration) {
	back := l.bucket.now - now
	l.bucket.shift(now)
	l.lender.last -= back
	l.refused.Store(nil)
	for w := l.queue.first(); w != nil; w = w.next {
		w.latest -= back
	}
	if l.alarm != nil {
		l.alarm.leaseEnds -= back
		l.alarm.stop()
		l.setAlarm()
	}
}

// serve gives those who wait longest their tokens, as far as there are any, and sets
// the alarm for the next. The caller holds mu.
func (l *Limiter) serve() {
	for w := l.queue.first(); w != nil && l.bucket.take(w.n); w = l.queue.first() {
		l.queue.remove(w)
		close(w.done)
	}
	l.setAlarm()
}

// try takes n tokens if they are there, without a wait.
func (l *Limiter) try(n int) bool {
	if mode := l.mode(); mode != stability.ModeOn {
		if l.inMode(mode, n) != nil {
			l.tally.CountRejected()
			return false
		}
		return true
	}
	good := false
	if r := l.refused.Load(); r != nil {
		now := l.now()
		good = r.at(now, now)
	}
	if !good {
		if l.lockOrSpend(n) {
			return true
		}
		l.enter()
		if l.takeFirst(n) {
			l.mu.Unlock()
			return true
		}
		if n == 1 {
			_ = l.publish(l.bucket.due(l.queue.until(1)))
		}
		l.mu.Unlock()
	}
	l.tally.CountRejected()
	return false
}

// inMode lets n tokens' worth of calls in, or not, where the limiter does not do what its
// Config says.
func (l *Limiter) inMode(mode stability.Mode, n int) *stability.Rejection {
	switch mode {
	case stability.ModeOpen:
		return l.forced()
	case stability.ModeObserve:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.enter()
		if !l.takeFirst(n) {
			l.needAlarm().observed.Add(1)
			l.sumObserved.Add(1)
		}
	}
	return nil
}

// lockOrSpend takes mu, unless it takes the token of a lease that was made while it
// waited for mu: that would be taken back only to be made again.
func (l *Limiter) lockOrSpend(n int) (spent bool) {
	l.mu.Lock()
	if n == 1 && l.spend() {
		l.mu.Unlock()
		return true
	}
	return false
}

// takeFirst takes n tokens if they are there and nobody else waits for them.
func (l *Limiter) takeFirst(n int) bool {
	if l.queue.first() != nil || n > int(l.bucket.burst) || !l.bucket.take(int32(n)) { //nolint:gosec // At most the burst.
		return false
	}
	if l.refused.Load() != nil {
		l.refused.Store(nil) // it has expired: nobody need compare the clock to it
	}
	if l.mode() == stability.ModeOn { // else a call that takes a token asks for the mode first
		l.lend()
	}
	return true
}

// acquire takes n tokens, if need be after a wait in the queue, or returns a
// Rejection.
func (l *Limiter) acquire(ctx context.Context, n int, maxWait time.Duration) error {
	if mode := l.mode(); mode != stability.ModeOn {
		if r := l.inMode(mode, n); r != nil {
			return l.reject(ctx, r)
		}
		return nil
	}
	// It may be anybody's context, whose code may do what it likes: it is asked while
	// nothing is taken, and not under mu.
	var deadline time.Time
	var done <-chan struct{}
	if maxWait > 0 {
		deadline, _ = ctx.Deadline()
		done = ctx.Done()
	}
	if r := l.refused.Load(); r != nil && n == 1 {
		if now := l.now(); r.at(now, latest(now, maxWait, deadline)) {
			return l.reject(ctx, l.renew(r, now))
		}
	}

	if l.lockOrSpend(n) {
		return nil
	}
	l.enter()
	if l.takeFirst(n) {
		l.mu.Unlock()
		return nil
	}
	if n > int(l.bucket.burst) {
		r := l.tooMany(n)
		l.mu.Unlock()
		return l.reject(ctx, r)
	}
	now := l.bucket.now
	latest := latest(now, maxWait, deadline)
	if due := l.bucket.due(l.queue.until(n)); due > latest || due == forever {
		var r *stability.Rejection
		if n == 1 {
			r = l.publish(due)
		} else {
			r = &l.makeRefusal(now, due).Rejection
		}
		l.mu.Unlock()
		return l.reject(ctx, r)
	}
	if mode := l.mode(); mode != stability.ModeOn { // set since it was asked
		l.mu.Unlock()
		return l.acquire(ctx, n, maxWait)
	}
	w := &waiter{n: int32(n), latest: latest, done: make(chan struct{})} //nolint:gosec // At most the burst.
	if l.queue == nil {
		l.queue = new(queue)
	}
	l.queue.push(w)
	l.setAlarm()
	l.mu.Unlock()

	// The tokens of w come when they are due only where nobody's alarm is late.
	var over <-chan time.Time
	if maxWait < forever {
		t := time.NewTimer(latest - now + grace)
		defer t.Stop()
		over = t.C
	}
	if r := l.wait(ctx, w, done, over); r != nil {
		return l.reject(ctx, r)
	}
	return nil
}

// latest returns until when a call waits that comes now; deadline is zero if it has
// none.
func latest(now, maxWait time.Duration, deadline time.Time) time.Duration {
	patience := min(maxWait, forever-now)
	if !deadline.IsZero() {
		// What comes at the very deadline comes too late.
		patience = min(patience, max(time.Until(deadline)-1, 0))
	}
	return now + patience
}

// grace is how much longer than Config.MaxWait a call waits whose tokens were due in
// time: due is to the nanosecond for each of those who wait, and timers are no better.
const grace = time.Millisecond

// wait returns when w has its tokens, or without them when its time is over.
func (l *Limiter) wait(ctx context.Context, w *waiter, done <-chan struct{}, over <-chan time.Time) *stability.Rejection {
	settled := false
	defer func() {
		if !settled { // something of the user's has panicked
			_ = l.leave(w, false)
		}
	}()
	defer onhold.Begin(ctx).End()
	began := time.Now()
	select {
	case <-w.done:
	case <-done:
	case <-over:
	}
	if l.waited.Enabled(ctx) {
		l.waited.Record(ctx, time.Since(began).Seconds(), l.attrs)
	}
	// A call whose context has ended must not start, even if its tokens have come.
	var reason error
	if err := ctx.Err(); err != nil {
		reason = fmt.Errorf("%w: %w", ErrLimited, ended.With(ctx, err))
	}
	settled = true
	r := l.leave(w, reason == nil)
	if r == nil || reason == nil || r == w.refusal {
		return r
	}
	gone := l.rejection(0)
	gone.Reason = reason
	return &gone
}

// leave ends the wait of w. It returns nil where w has its tokens and may keep them, the
// refusal that it has got, or else one for the moment; then nothing is left of w.
func (l *Limiter) leave(w *waiter, keep bool) *stability.Rejection {
	select {
	case <-w.done:
		if w.refusal != nil || keep {
			return w.refusal
		}
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter()
	switch {
	case w.queued:
		l.queue.remove(w)
	case w.refusal != nil || keep: // it won the race
		return w.refusal
	default:
		l.bucket.give(w.n)
	}
	l.refused.Store(nil) // there is less to wait for
	l.serve()
	return &l.makeRefusal(l.bucket.now, l.bucket.due(l.queue.until(int(w.n)))).Rejection
}

// change changes the bucket and refuses those who cannot be served in time any more.
func (l *Limiter) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter()
	f()
	l.lender.configure(&l.bucket)
	l.refused.Store(nil)
	if mode := l.mode(); mode != stability.ModeOn {
		l.dismiss(mode)
	}
	var ahead int64
	for w := l.queue.first(); w != nil; {
		next := w.next
		due := l.bucket.due(ahead + int64(w.n))
		switch {
		case w.n > l.bucket.burst:
			w.refusal = l.tooMany(int(w.n))
		case due > w.latest || due == forever:
			w.refusal = &l.makeRefusal(l.bucket.now, due).Rejection
		default:
			ahead += int64(w.n)
		}
		if w.refusal != nil {
			l.queue.remove(w)
			close(w.done)
		}
		w = next
	}
	l.serve()
}

// dismiss ends all waits, since nobody waits in that mode. The caller holds mu.
func (l *Limiter) dismiss(mode stability.Mode) {
	for w := l.queue.first(); w != nil; w = l.queue.first() {
		l.queue.remove(w)
		if mode == stability.ModeOpen {
			w.refusal = l.forced()
		} else {
			w.n = 0 // it has taken nothing that could be given back
		}
		close(w.done)
	}
}

func (l *Limiter) reject(ctx context.Context, r *stability.Rejection) error {
	l.tally.CountRejected()
	telemetry.Rejected(ctx, r)
	return r
}
