package bulkhead

import "sync/atomic"

// AtRest reports whether nothing is left of any call: no permit in use, nobody in
// the queue, and no release told to look for a waiter.
func (b *Bulkhead) AtRest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reclaim()
	return b.word.Load()&(permits|waiting) == 0 && b.queue == queue{} && b.drain == drain{} && b.marked.Load() == 0
}

// Marked is how many permits are held by calls with a mark.
func (b *Bulkhead) Marked() int { return int(b.marked.Load()) }

// LooksForWaiters reports whether a release would look for a waiter.
func (b *Bulkhead) LooksForWaiters() bool { return b.word.Load()&waiting != 0 }

// ReleaseHalfway gives a permit of a marked call back, as far as a release does before it has the
// lock; rest does what is left.
func (b *Bulkhead) ReleaseHalfway() (rest func()) {
	b.marked.Add(-1)
	b.word.Add(^uint64(0)) // takes one away
	return b.serve
}

// ReleaseLate gives a permit of a marked call back, as a release does that has seen nobody
// waiting.
func (b *Bulkhead) ReleaseLate() {
	b.marked.Add(-1)
	b.giveBack(success)
}

// Lend begins to use shelves, as two callers that collide make it do, and reports
// whether they are in use.
func (b *Bulkhead) Lend() bool {
	b.lend()
	return b.shelves.inUse.Load() != nil
}

// BeforeFold makes word, and every shelf in use, count as if there were n more successes to
// their fold, without a change to what they count together.
func (b *Bulkhead) BeforeFold(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	words := []*atomic.Uint64{&b.word}
	if all := b.shelves.inUse.Load(); all != nil {
		for i := range *all {
			words = append(words, &(*all)[i].word)
		}
	}
	for _, w := range words {
		more := foldAt/success - n - w.Load()/success // or fewer
		w.Add(more * success)
		b.succeeded -= more
	}
}

// FoldDue reports whether the next call would fold.
func (b *Bulkhead) FoldDue() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	due := b.word.Load() >= foldAt
	for i := range b.shelves.all {
		due = due || b.shelves.all[i].word.Load() >= foldAt
	}
	return due
}
