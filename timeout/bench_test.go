package timeout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/crumplezone/stability/timeout"
)

func ok(context.Context) error { return nil }

var errCall = errors.New("the call's own error")

func fails(context.Context) error { return errCall }

// waits asks for Done, as net/http does.
func waits(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	default:
		return nil
	}
}

// The parents of the contexts: one that never ends, and one that could.
var parents = []struct {
	name string
	make func() (context.Context, context.CancelFunc)
}{
	{"background", func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }},
	{"cancelable", func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }},
}

// The ways to run a call: ours, and what callers write without it.
var ways = []struct {
	name string
	run  func(to *timeout.Timeout, ctx context.Context, fn func(context.Context) error) error
}{
	{"timeout", (*timeout.Timeout).Run},
	{"context", func(_ *timeout.Timeout, ctx context.Context, fn func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return fn(ctx)
	}},
}

func benchmark(b *testing.B, fn func(context.Context) error) {
	for _, parent := range parents {
		for _, way := range ways {
			b.Run("parent="+parent.name+"/serial/"+way.name, func(b *testing.B) {
				ctx, cancel := parent.make()
				defer cancel()
				to := timeout.New(timeout.Config{After: time.Minute})
				b.ReportAllocs()
				for b.Loop() {
					_ = way.run(to, ctx, fn)
				}
			})
			b.Run("parent="+parent.name+"/parallel/"+way.name, func(b *testing.B) {
				ctx, cancel := parent.make()
				defer cancel()
				to := timeout.New(timeout.Config{After: time.Minute})
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_ = way.run(to, ctx, fn)
					}
				})
			})
		}
	}
}

func BenchmarkInTime(b *testing.B) { benchmark(b, ok) }

// A failure reads the clock once more, to tell whose it is.
func BenchmarkFailure(b *testing.B) { benchmark(b, fails) }

// A call that asks for Done gets the standard context, and pays for both.
func BenchmarkDone(b *testing.B) { benchmark(b, waits) }
