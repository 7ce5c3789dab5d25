package hedge_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
)

func seven(context.Context) (int, error) { return 7, nil }

func BenchmarkFast(b *testing.B) {
	for name, cfg := range map[string]hedge.Config{"delay": {Delay: time.Second}, "percentile": {}} {
		b.Run(name, func(b *testing.B) {
			h := hedge.New(cfg)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = hedge.Do(context.Background(), h, seven)
				}
			})
		})
	}
}

func BenchmarkHedged(b *testing.B) {
	h := hedge.New(hedge.Config{Delay: time.Microsecond, Budget: retry.Unlimited()})
	b.ReportAllocs()
	for b.Loop() {
		var second atomic.Bool
		_, _ = hedge.Do(context.Background(), h, func(ctx context.Context) (int, error) {
			if !second.Swap(true) {
				<-ctx.Done()
			}
			return 7, ctx.Err()
		})
	}
}
