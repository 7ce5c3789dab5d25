package bulkhead

import (
	"sync/atomic"

	"github.com/crumplezone/stability/internal/stripe"
)

// A shelf holds permits that have come back and are not in word yet: they count as
// taken there. Goroutines on different cores use different shelves, and do not
// wait for one another's cache line as they do for the one of word.
type shelf struct {
	// word is how many permits lie here, in the place that they have in the word of a
	// Bulkhead, and how many calls that put one here succeeded.
	word atomic.Uint64
	_    [120]byte
}

// shelves lets a bulkhead with many permits and few in use be entered by all cores
// at once. It begins when two callers collide on word, rests while more than half of the
// permits are in use (see mark), and ends before anything is decided for lack of permits:
// whoever finds none in word, wants to queue, changes the limit, or reads how many are in
// use, first calls reclaim, or has seen by turn that there is nothing to reclaim. So nobody is refused or waits while a permit lies on a shelf, and word
// alone is the truth from then on.
//
// Why none is lost: a release puts its permit on a shelf and then looks whether
// shelves are still in use; reclaim ends their use and then empties them. Atomic
// operations have one order, so a permit that reclaim does not see is seen by the
// release that put it there, which carries it to word itself. With a permit goes the
// count of its call: whoever moves one, moves both, under Bulkhead.mu.
type shelves struct {
	inUse atomic.Pointer[[]shelf] // nil: not now
	// turn grows by one when a use begins, and by one when all is in word again. While
	// it stays the same even number, word has every permit that is free.
	turn atomic.Uint32
	all  []shelf // kept for the next time; guarded by Bulkhead.mu
}

// perShelf bounds the permits on a shelf, and with it how many a reclaim moves.
const perShelf = 16

// take takes a permit from the caller's shelf, if there is one.
func (s *shelves) take() bool {
	all := s.inUse.Load()
	if all == nil {
		return false
	}
	word := &(*all)[stripe.Pick(len(*all))].word
	w := word.Load()
	return w&permits > 0 && word.CompareAndSwap(w, w-1)
}

// shelve gives a permit back, and counts, on the caller's shelf, if shelves are used
// and it has room.
func (b *Bulkhead) shelve(count uint64) bool {
	all := b.shelves.inUse.Load()
	if all == nil || !b.mayUseShelves() {
		return false
	}
	shelf := &(*all)[stripe.Pick(len(*all))]
	w := shelf.word.Load()
	if w&permits >= perShelf || !shelf.word.CompareAndSwap(w, w+count+1) {
		return false
	}
	if w >= foldAt || b.shelves.inUse.Load() == nil {
		b.mu.Lock()
		b.empty(shelf)
		b.unlock(0)
	}
	return true
}

// empty carries what is on a shelf to word, and its count to where fold does. The
// caller holds mu.
func (b *Bulkhead) empty(s *shelf) {
	w := s.word.Swap(0)
	b.succeeded += w / success
	b.word.Add(-(w & permits))
}

// mayLend reports whether there are permits enough for shelves, which are not in use.
func (b *Bulkhead) mayLend() bool {
	limit, w := b.limit.Load(), uint32(b.word.Load()) //nolint:gosec // Cuts off the count.
	return limit >= 4*perShelf && w <= limit/2 && b.shelves.inUse.Load() == nil
}

// lend begins to use shelves where there are permits enough for it.
func (b *Bulkhead) lend() {
	if !b.mayLend() {
		return // and nobody waits for the lock to learn that
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mayLend() {
		return
	}
	if b.shelves.all == nil {
		b.shelves.all = make([]shelf, stripe.Width())
	}
	b.shelves.turn.Add(1)
	b.shelves.inUse.Store(&b.shelves.all)
}

// reclaim ends the use of shelves and carries what is on them to word. The caller
// holds mu.
func (b *Bulkhead) reclaim() {
	if b.shelves.inUse.Load() == nil {
		return
	}
	b.shelves.inUse.Store(nil)
	for i := range b.shelves.all {
		b.empty(&b.shelves.all[i])
	}
	b.shelves.turn.Add(1)
}
