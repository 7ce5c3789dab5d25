package bulkhead_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

func ok(context.Context) error { return nil }

func run(b *testing.B, p stability.Policy, fn func(context.Context) error) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = p.Run(context.Background(), fn)
		}
	})
}

func BenchmarkFree(b *testing.B) {
	run(b, bulkhead.New(bulkhead.Config{Limit: 1000}), ok)
}

// BenchmarkFreeAdmitted is the way of a bulkhead in a chain.
func BenchmarkFreeAdmitted(b *testing.B) {
	h := bulkhead.New(bulkhead.Config{Limit: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, a, _ := h.Admit(context.Background())
			_ = a.Run(ctx, ok)
		}
	})
}

// BenchmarkFew is more permits than callers, and too few for shelves.
func BenchmarkFew(b *testing.B) {
	run(b, bulkhead.New(bulkhead.Config{Limit: 60}), ok)
}

func BenchmarkFull(b *testing.B) {
	h := bulkhead.New(bulkhead.Config{Limit: 1})
	pass := enter(b, h)
	run(b, h, ok)
	_ = pass.Done(nil)
}

// BenchmarkContended is more callers than permits, all of whom wait.
func BenchmarkContended(b *testing.B) {
	b.SetParallelism(16)
	run(b, bulkhead.New(bulkhead.Config{Limit: 2, Queue: 1 << 20}), yield)
}

// BenchmarkContendedCancelable is BenchmarkContended where a caller could also leave
// the queue.
func BenchmarkContendedCancelable(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h := bulkhead.New(bulkhead.Config{Limit: 2, Queue: 1 << 20})
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = h.Run(ctx, yield)
		}
	})
}

// BenchmarkContendedChannel is what BenchmarkContended is measured against.
func BenchmarkContendedChannel(b *testing.B) {
	b.SetParallelism(16)
	run(b, channel(make(chan struct{}, 2)), yield)
}

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

func yield(context.Context) error { runtime.Gosched(); return nil }

func BenchmarkEnter(b *testing.B) {
	h := bulkhead.New(bulkhead.Config{Limit: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pass, _ := h.Enter(context.Background())
			_ = pass.Done(nil)
		}
	})
}

func BenchmarkGroup(b *testing.B) {
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 1000}, stability.Keys{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = g.Get("eu-1").Run(context.Background(), ok)
		}
	})
}

func BenchmarkChainOfFive(b *testing.B) {
	h := func() stability.Policy { return bulkhead.New(bulkhead.Config{Limit: 1000}) }
	run(b, stability.Chain(h(), h(), h(), h(), h()), ok)
}
