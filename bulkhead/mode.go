package bulkhead

import (
	"context"

	"github.com/crumplezone/stability"
)

// acquireInMode decides about a call while the bulkhead does not do what its Config says.
func (b *Bulkhead) acquireInMode(ctx context.Context) (*mark, error) {
	switch b.mode() {
	case stability.ModeOpen:
		return nil, b.reject(ctx, b.forced())
	case stability.ModeOff:
		return &mark{Context: ctx, b: b, without: uncounted}, nil
	case stability.ModeObserve:
		limit := uint32(b.capacity()) //nolint:gosec // At most maxLimit.
		b.marked.Add(1)
		for {
			w := b.word.Load()
			if uint32(w) >= limit { //nolint:gosec // Cuts off the count.
				break
			}
			if b.word.CompareAndSwap(w, w+1) {
				return &mark{Context: ctx, b: b}, nil
			}
		}
		b.marked.Add(-1)
		b.observed.Add(1)
		b.sumObserved.Add(1)
		return &mark{Context: ctx, b: b, without: counted}, nil
	}
	b.apply() // which is about to be done by whoever set ModeOn
	return b.acquireAmongOthers(ctx)
}

// forced is the refusal of a bulkhead in ModeOpen.
func (b *Bulkhead) forced() *stability.Rejection {
	r := b.full
	r.Reason = errForced
	return &r
}
