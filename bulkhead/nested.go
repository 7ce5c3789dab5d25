package bulkhead

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
)

// A mark is the context of an admitted call, and tells a call within it by which
// bulkhead the outer one was admitted, and whether it still runs: the inner one takes a
// permit that is free, and where there is none it runs under the outer one's. Then both
// hold that permit, and it comes back with the last of them.
//
// A mark is an allocation, so a call that comes while few permits are in use has none.
// That still makes no call wait for itself. Whoever took a permit while at least an
// eighth of the permits were in use is marked, and whoever waited for one; a permit
// comes from a shelf only while at most half are in use. So at the instant at which the
// last call without a mark came in, at most half of the permits were in use, and those
// are all calls without a mark that there can be from then on, since they only become
// fewer until another one comes. Somebody waits only when all permits are in use: half
// of those who hold one are marked then (and seven eighths where no shelf was in use).
// They never wait for this bulkhead, so they come to an end, and their permits go to
// those who wait. An inner call without a mark around it waits, like any other call, for
// others.
//
// SetLimit may lower the limit to no more than there are calls without a mark inside.
// Bulkhead.stuck is for that.
type mark struct {
	context.Context //nolint:containedctx // It is the call's context.

	b     *Bulkhead
	outer *mark // whose permit the call runs under; nil: its own
	state atomic.Int32
	// without is not zero where the call runs without any permit. Calls within it are like
	// any others.
	without withoutPermit

	measured     bool
	began, until time.Duration // since epoch, of a call that is measured: its start and its deadline
}

// withoutPermit says whether a call that holds no permit is counted.
type withoutPermit uint8

const (
	uncounted withoutPermit = iota + 1
	counted
)

// The state of a mark is how many inner calls run under the permit of its call, and the flag
// over, which is set when the call itself has ended.
const over = 1 << 30

// forever is the deadline of a call that has none.
const forever = math.MaxInt64

// Value returns the mark itself to its bulkhead.
func (m *mark) Value(key any) any {
	if key == any(m.b) && m.without == 0 {
		return m
	}
	return m.Context.Value(key)
}

// A call that takes a permit from word is marked where one in so many is in use.
const markedFrom = 8

// mayUseShelves reports whether shelves may be used: few enough permits are in use for
// calls that take one from there, and are not marked.
func (b *Bulkhead) mayUseShelves() bool {
	return uint32(b.word.Load()) < b.limit.Load()/2 //nolint:gosec // Cuts off the count.
}

// acquireMarked takes a permit from word, and returns the call's mark, or nil where none
// is free.
func (b *Bulkhead) acquireMarked(ctx context.Context) *mark {
	m := &mark{Context: ctx, b: b}
	if b.live.Config().Queue > 0 && b.samples() {
		m.until = forever
		now := time.Since(epoch)
		if deadline, ok := ctx.Deadline(); ok {
			m.until = after(now, time.Until(deadline))
		}
		m.measured, m.began = true, now
	}
	// Counted first, so that no holder of a permit lacks in the count.
	b.marked.Add(1)
	for collided := false; ; collided = true {
		w := b.word.Load()
		if uint32(w) >= b.limit.Load() { //nolint:gosec // Cuts off the count.
			b.marked.Add(-1)
			return nil
		}
		if b.word.CompareAndSwap(w, w+1) {
			if collided {
				b.lend()
			}
			return m
		}
	}
}

// acquireWithin lets a call in that comes from inside one of the bulkhead's own calls, of
// which the given value is what its context has for the bulkhead. It returns nil where
// that call has ended.
func (b *Bulkhead) acquireWithin(ctx context.Context, within any) *mark {
	outer, _ := within.(*mark)
	for outer != nil && !outer.join() {
		outer, _ = outer.Context.Value(b).(*mark) // may be within another one that still runs
	}
	if outer == nil {
		return nil
	}
	m := &mark{Context: ctx, b: b}
	b.mu.Lock()
	b.reclaim()
	free := b.queue.len == 0 && b.acquireFree()
	b.mu.Unlock()
	if free {
		outer.leave()
	} else {
		m.outer = outer
	}
	return m
}

// acquireFree takes a permit from word for a call that is marked. The caller holds mu.
func (b *Bulkhead) acquireFree() bool {
	for {
		w := b.word.Load()
		if uint32(w) >= b.limit.Load() { //nolint:gosec // Cuts off the count.
			return false
		}
		if b.word.CompareAndSwap(w, w+1) {
			b.marked.Add(1)
			return true
		}
	}
}

// join makes another call hold the permit of m, unless the call of m has ended.
func (m *mark) join() bool {
	for {
		s := m.state.Load()
		if s&over != 0 {
			return false
		}
		if m.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// leave is the end of a call that joined.
func (m *mark) leave() {
	if m.state.Add(-1) != over {
		return
	}
	if m.outer != nil {
		m.outer.leave()
		return
	}
	m.b.marked.Add(-1)
	m.b.release(0)
}

// Release implements [stability.Releaser].
func (m *mark) Release(ctx context.Context, _ int64, err error) error {
	m.settle(ctx, err)
	return err
}

// settle is Bulkhead.settle for a call that is marked.
func (m *mark) settle(ctx context.Context, err error) {
	b := m.b
	if m.without != 0 {
		if m.without == counted {
			b.tally.Judge(ctx, b.live.Config().Classify, err)
		}
		return
	}
	classify := b.live.Config().Classify
	last := m.state.Add(over) == over
	own := last && m.outer == nil
	plain := own && err == nil && classify == nil // is counted with the permit
	var back int
	var count uint64
	if own {
		back = 1
		b.marked.Add(-1)
	}
	if plain {
		count = success
	}
	if took, now, ok := m.took(err); ok {
		b.mu.Lock()
		b.work.add(took, now)
		b.fold()
		b.succeeded += count / success
		b.unlock(back)
	} else if own {
		b.release(count)
	}
	switch {
	case !plain:
		if last && !own {
			m.outer.leave()
		}
		b.tally.Judge(ctx, classify, err)
	case b.sum != nil:
		b.sum.Count(stability.Success)
	}
}

// took returns how long the work of a measured call took, as far as the way it ended
// tells. One whose time ran out would have taken longer than it had, nobody knows by how
// much: it counts for twice that, so that who is let in with as little time as that stops
// being let in. One that ended in another error, or that was canceled, tells nothing.
func (m *mark) took(err error) (took, now time.Duration, ok bool) {
	if !m.measured {
		return 0, 0, false
	}
	now = time.Since(epoch)
	took = now - m.began
	if err != nil {
		if now < m.until {
			return 0, 0, false
		}
		took = max(took, 2*(m.until-m.began))
	}
	return took, now, took >= 0
}

// after returns the instant that is so much later.
func after(now, left time.Duration) time.Duration {
	if left > forever-max(now, 0) {
		return forever
	}
	return now + left
}

var _ stability.Releaser = (*mark)(nil)
