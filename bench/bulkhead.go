package bench

import (
	"context"
	"runtime"

	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"golang.org/x/sync/semaphore"

	"github.com/crumplezone/stability/bulkhead"
)

const (
	semaphoreName = "x/sync/semaphore"
	channelName   = "buffered channel"
)

// permits is how many permits there are where there are enough.
const permits = 1000

func bulkheadFree() Row {
	return Row{
		Name:  "bulkhead, free",
		Note:  "1,000 permits. Where it is not the library that calls the function, a deferred function gives the permit back.",
		Goals: []Goal{{Name: "bulkhead, free", Against: semaphoreName, Serial: 0.7, All: 1. / 3}},
		Candidates: []Candidate{
			{Name: "stability", How: "`Run`; no queue.", Setup: func() Work {
				b, ctx := bulkhead.New(bulkhead.Config{Limit: permits}), context.Background()
				granted(b.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = b.Run(ctx, ok)
					}
				})
			}},
			{Name: semaphoreName, Kind: Peer, How: "`Acquire(ctx, 1)`, the call, `Release(1)`.", Setup: func() Work {
				s, ctx := weighted{semaphore.NewWeighted(permits)}, context.Background()
				granted(s.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = s.Run(ctx, ok)
					}
				})
			}},
			{Name: channelName, Kind: Peer, How: "`select` on a send and `ctx.Done()`, the call, a receive.", Setup: func() Work {
				c, ctx := channel(make(chan struct{}, permits)), context.Background()
				granted(c.Run(ctx, ok))
				return each(func(_, n int) {
					for range n {
						_ = c.Run(ctx, ok)
					}
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`Executor.Run` without a context, its cheapest way.", Setup: func() Work {
				executor := failsafe.With[any](failsafebulkhead.New[any](permits))
				granted(executor.Run(okPlain))
				return each(func(_, n int) {
					for range n {
						_ = executor.Run(okPlain)
					}
				})
			}},
			add(),
		},
	}
}

func bulkheadFull() Row {
	return Row{
		Name:  "bulkhead, full, refusal",
		Goals: []Goal{{Name: "bulkhead, full, refusal", Against: semaphoreName, Serial: 0.5, All: 1. / 10}},
		Candidates: []Candidate{
			{Name: "stability", How: "`Run`; its only permit is taken.", Setup: func() Work {
				b, ctx := bulkhead.New(bulkhead.Config{Limit: 1}), context.Background()
				pass, err := b.Enter(ctx)
				granted(err)
				refused(b.Run(ctx, ok))
				return Work{Do: func(_, n int) {
					for range n {
						_ = b.Run(ctx, ok)
					}
				}, Close: func() { _ = pass.Done(nil) }}
			}},
			{Name: semaphoreName, Kind: Peer, How: "`TryAcquire(1)`.", Setup: func() Work {
				s := semaphore.NewWeighted(1)
				grantedIf(s.TryAcquire(1))
				refusedUnless(s.TryAcquire(1))
				return each(func(_, n int) {
					for range n {
						s.TryAcquire(1)
					}
				})
			}},
			{Name: channelName, Kind: Peer, How: "`select` on a send and `default`.", Setup: func() Work {
				c := make(chan struct{}, 1)
				c <- struct{}{}
				return each(func(_, n int) {
					for range n {
						select {
						case c <- struct{}{}:
						default:
						}
					}
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`Executor.Run` without a context.", Setup: func() Work {
				b := failsafebulkhead.New[any](1)
				grantedIf(b.TryAcquirePermit())
				executor := failsafe.With[any](b)
				refused(executor.Run(okPlain))
				return each(func(_, n int) {
					for range n {
						_ = executor.Run(okPlain)
					}
				})
			}},
			add(),
		},
	}
}

func bulkheadContended() Row {
	const limit = 2
	return Row{
		Name:  "bulkhead, contended",
		Note:  "Two permits, sixteen goroutines a core, and a call that yields the processor: all wait in the queue for all others. Serial, nobody waits.",
		Crowd: 16,
		Goals: []Goal{{Name: "bulkhead, contended", Against: channelName, Serial: 1, All: 1}},
		Candidates: []Candidate{
			{Name: "stability", How: "`Run`; a queue for all.", Setup: func() Work {
				b, ctx := bulkhead.New(bulkhead.Config{Limit: limit, Queue: 1 << 20}), context.Background()
				granted(b.Run(ctx, yield))
				return each(func(_, n int) {
					for range n {
						_ = b.Run(ctx, yield)
					}
				})
			}},
			{Name: channelName, Kind: Peer, How: "`select` on a send and `ctx.Done()`, the call, a receive.", Setup: func() Work {
				c, ctx := channel(make(chan struct{}, limit)), context.Background()
				granted(c.Run(ctx, yield))
				return each(func(_, n int) {
					for range n {
						_ = c.Run(ctx, yield)
					}
				})
			}},
			{Name: semaphoreName, Kind: Peer, How: "`Acquire(ctx, 1)`, the call, `Release(1)`.", Setup: func() Work {
				s, ctx := weighted{semaphore.NewWeighted(limit)}, context.Background()
				granted(s.Run(ctx, yield))
				return each(func(_, n int) {
					for range n {
						_ = s.Run(ctx, yield)
					}
				})
			}},
		},
	}
}

func yield(context.Context) error { runtime.Gosched(); return nil }

// weighted is a semaphore around a call.
type weighted struct{ s *semaphore.Weighted }

func (w weighted) Run(ctx context.Context, fn func(context.Context) error) error {
	if err := w.s.Acquire(ctx, 1); err != nil {
		return err
	}
	defer w.s.Release(1)
	return fn(ctx)
}

// channel is a buffered channel around a call.
type channel chan struct{}

func (c channel) Run(ctx context.Context, fn func(context.Context) error) error {
	select {
	case c <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c }()
	return fn(ctx)
}
