package bulkhead

// AtRest reports whether nothing is left of any call: no permit in use, nobody in
// the queue, and no release told to look for a waiter.
func (b *Bulkhead) AtRest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reclaim()
	return b.word.Load() == 0 && b.queue == queue{} && b.drain == drain{}
}

// LooksForWaiters reports whether a release would look for a waiter.
func (b *Bulkhead) LooksForWaiters() bool { return b.word.Load()&waiting != 0 }

// ReleaseHalfway gives a permit back, as far as a release does before it has the
// lock; rest does what is left.
func (b *Bulkhead) ReleaseHalfway() (rest func()) {
	b.word.Add(-1)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.grant()
	}
}

// Lend begins to use shelves, as two callers that collide make it do, and reports
// whether they are in use.
func (b *Bulkhead) Lend() bool {
	b.lend()
	return b.shelves.inUse.Load() != nil
}
