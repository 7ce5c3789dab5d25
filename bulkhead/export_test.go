package bulkhead

// AtRest reports whether nothing is left of any call: no permit in use, nobody in
// the queue, and no release told to look for a waiter.
func (b *Bulkhead) AtRest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.word.Load() == 0 && b.queue == queue{} && b.drain == drain{}
}
