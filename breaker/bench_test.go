package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/crumplezone/stability/breaker"
)

var errCall = errors.New("the call's own error")

func ok(context.Context) error     { return nil }
func failed(context.Context) error { return errCall }

func benchmark(b *testing.B, run func(i int)) {
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			run(i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				run(i)
			}
		})
	})
}

func BenchmarkClosed(b *testing.B) {
	br := breaker.New(breaker.Config{})
	ctx := context.Background()
	benchmark(b, func(int) { _ = br.Run(ctx, ok) })
}

// The way of every other gate and of a breaker in a chain.
func BenchmarkClosedAdmitted(b *testing.B) {
	br := breaker.New(breaker.Config{})
	ctx := context.Background()
	benchmark(b, func(int) {
		ctx, a, _ := br.Admit(ctx)
		_ = a.Run(ctx, ok)
	})
}

func BenchmarkClosedGobreaker(b *testing.B) {
	br := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{})
	f := func() (struct{}, error) { return struct{}{}, nil }
	benchmark(b, func(int) { _, _ = br.Execute(f) })
}

func BenchmarkTenthFails(b *testing.B) {
	br := breaker.New(breaker.Config{})
	ctx := context.Background()
	benchmark(b, func(i int) {
		if i%10 == 0 {
			_ = br.Run(ctx, failed)
		} else {
			_ = br.Run(ctx, ok)
		}
	})
}

func BenchmarkTenthFailsGobreaker(b *testing.B) {
	br := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{})
	good := func() (struct{}, error) { return struct{}{}, nil }
	bad := func() (struct{}, error) { return struct{}{}, errCall }
	benchmark(b, func(i int) {
		if i%10 == 0 {
			_, _ = br.Execute(bad)
		} else {
			_, _ = br.Execute(good)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	br := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Hour})
	ctx := context.Background()
	_ = br.Run(ctx, failed)
	benchmark(b, func(int) { _ = br.Run(ctx, ok) })
}

func BenchmarkOpenGobreaker(b *testing.B) {
	br := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		ReadyToTrip: func(gobreaker.Counts) bool { return true },
	})
	_, _ = br.Execute(func() (struct{}, error) { return struct{}{}, errCall })
	f := func() (struct{}, error) { return struct{}{}, nil }
	benchmark(b, func(int) { _, _ = br.Execute(f) })
}
