package retry_test

import (
	"context"
	"testing"

	"github.com/crumplezone/stability/retry"
)

func BenchmarkFirstSuccess(b *testing.B) {
	r := retry.New(retry.Config{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = r.Run(context.Background(), ok)
		}
	})
}

func BenchmarkNested(b *testing.B) {
	budget := retry.NewBudget(retry.BudgetConfig{})
	outer, inner := retry.New(retry.Config{Budget: budget}), retry.New(retry.Config{Budget: budget})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = outer.Run(context.Background(), func(ctx context.Context) error { return inner.Run(ctx, ok) })
		}
	})
}

func BenchmarkSpentBudget(b *testing.B) {
	r := retry.New(retry.Config{Budget: retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: 1e-9})})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = r.Run(context.Background(), func(context.Context) error { return errCall })
		}
	})
}
