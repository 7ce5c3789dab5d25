package bulkhead

import (
	"sync/atomic"

	"github.com/crumplezone/stability/internal/stripe"
)

// A shelf holds permits that have come back and are not in word yet: they count as
// taken there. Goroutines on different cores use different shelves, and do not
// wait for one another's cache line as they do for the one of word.
type shelf struct {
	free atomic.Int64
	_    [120]byte
}

// shelves lets a bulkhead with many permits and few in use be entered by all cores
// at once. It begins when two callers collide on word, and ends before anything
// is decided for lack of permits: whoever finds none in word, wants to queue, or
// changes the limit, first calls reclaim. So nobody is refused or waits while a
// permit lies on a shelf, and word alone is the truth from then on.
//
// Why none is lost: a release puts its permit on a shelf and then looks whether
// shelves are still in use; reclaim ends their use and then empties them. Atomic
// operations have one order, so a permit that reclaim does not see is seen by the
// release that put it there, which carries it to word itself.
type shelves struct {
	inUse    atomic.Pointer[[]shelf] // nil: not now
	sweeping atomic.Bool             // no longer in use, and not yet all in word
	all      []shelf                 // kept for the next time; guarded by Bulkhead.mu
}

// perShelf bounds the permits on a shelf, and with it how many a reclaim moves.
const perShelf = 16

// take takes a permit from the caller's shelf, if there is one.
func (s *shelves) take() bool {
	all := s.inUse.Load()
	if all == nil {
		return false
	}
	free := &(*all)[stripe.Pick(len(*all))].free
	n := free.Load()
	return n > 0 && free.CompareAndSwap(n, n-1)
}

// put puts a permit on the caller's shelf, if shelves are used and it has room. It
// returns how many permits the caller must carry to word.
func (s *shelves) put() (carry int64) {
	all := s.inUse.Load()
	if all == nil {
		return 1
	}
	free := &(*all)[stripe.Pick(len(*all))].free
	n := free.Load()
	if n >= perShelf || !free.CompareAndSwap(n, n+1) {
		return 1
	}
	if s.inUse.Load() == nil {
		return free.Swap(0)
	}
	return 0
}

// free returns how many permits are on shelves. The caller holds Bulkhead.mu.
func (s *shelves) free() (n int64) {
	for i := range s.all {
		n += s.all[i].free.Load()
	}
	return n
}

// mayLend reports whether there are permits enough for shelves, which are not in use.
func (b *Bulkhead) mayLend() bool {
	limit := b.limit.Load()
	// The flag waiting is larger than any limit.
	return limit >= 4*perShelf && b.word.Load() <= limit/2 && b.shelves.inUse.Load() == nil
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
	b.shelves.inUse.Store(&b.shelves.all)
}

// reclaim ends the use of shelves and carries what is on them to word. The caller
// holds mu.
func (b *Bulkhead) reclaim() {
	if b.shelves.inUse.Load() == nil {
		return
	}
	b.shelves.sweeping.Store(true)
	b.shelves.inUse.Store(nil)
	for i := range b.shelves.all {
		b.word.Add(-b.shelves.all[i].free.Swap(0))
	}
	b.shelves.sweeping.Store(false)
}

// reclaimed takes a permit if there was one to reclaim. It takes no lock where word
// is the truth already.
func (b *Bulkhead) reclaimed() bool {
	if b.shelves.inUse.Load() == nil && !b.shelves.sweeping.Load() {
		return false
	}
	b.mu.Lock()
	b.reclaim()
	b.mu.Unlock()
	return b.tryAcquire()
}
