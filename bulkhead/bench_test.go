package bulkhead_test

import (
	"context"
	"testing"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

func ok(context.Context) error { return nil }

func BenchmarkFree(b *testing.B) {
	h := bulkhead.New(bulkhead.Config{Limit: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = h.Run(context.Background(), ok)
		}
	})
}

func BenchmarkChainOfFive(b *testing.B) {
	h := func() stability.Policy { return bulkhead.New(bulkhead.Config{Limit: 1000}) }
	c := stability.Chain(h(), h(), h(), h(), h())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = c.Run(context.Background(), ok)
		}
	})
}
