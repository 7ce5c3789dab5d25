package bulkhead_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// Calls that each made another one through the same bulkhead waited for one another for
// ever, once they had all the permits: a driver that shakes hands through the hook that
// it was called by.
//
// Contract: 49
func TestCallsWithinCallsEnd(t *testing.T) {
	for _, test := range []struct{ limit, queue, callers, depth int }{
		{4, 100, 8, 1}, {4, 0, 4, 1}, {1, 100, 50, 1}, {1, 0, 1, 5}, {8, 1000, 100, 1}, {100, 1000, 500, 1}, {16, 1000, 100, 3}, {5, 1000, 100, 10},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(bulkhead.Config{Limit: test.limit, Queue: test.queue})
				var inside, most atomic.Int64
				var nested func(ctx context.Context, depth int) error
				nested = func(ctx context.Context, depth int) error {
					return b.Run(ctx, func(ctx context.Context) error {
						time.Sleep(time.Second)
						if depth == 0 {
							return nil
						}
						return nested(ctx, depth-1)
					})
				}
				var wg sync.WaitGroup
				for range test.callers {
					wg.Go(func() {
						if err := b.Run(t.Context(), func(ctx context.Context) error {
							most.Store(max(most.Load(), inside.Add(1)))
							defer inside.Add(-1)
							time.Sleep(time.Second)
							return nested(ctx, test.depth-1)
						}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				require.LessOrEqual(t, most.Load(), int64(test.limit))
				require.Equal(t, stability.Calls{Succeeded: int64(test.callers * (test.depth + 1))}, b.Stats().Calls)
				requireIdle(t, b)
			})
		})
	}
}

// An inner call takes a permit of its own where there is one.
//
// Contract: 49
func TestCallWithinACallTakesAFreePermit(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 2})
	require.NoError(t, b.Run(t.Context(), func(ctx context.Context) error {
		return b.Run(ctx, func(ctx context.Context) error {
			require.Equal(t, 2, b.Stats().InUse)
			return b.Run(ctx, func(context.Context) error {
				require.Equal(t, 2, b.Stats().InUse, "it runs under its caller's")
				requireRefused(t, b.Run(t.Context(), ok))
				return nil
			})
		})
	}))
	require.Equal(t, stability.Calls{Succeeded: 3, Rejected: 1}, b.Stats().Calls)
	requireIdle(t, b)
}

// The permit that two calls hold comes back with the last of them, whichever that is and
// however it ends.
//
// Contract: 14, 49
func TestInnerCallOutlivesTheOuterOne(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	outer := enter(t, b)
	inner, err := b.Enter(outer.Context())
	require.NoError(t, err)
	innermost, err := b.Enter(inner.Context())
	require.NoError(t, err)
	require.NoError(t, outer.Done(nil))
	requireRefused(t, b.Run(t.Context(), ok))
	requireRefused(t, b.Run(outer.Context(), ok)) // that call is over
	require.ErrorIs(t, inner.Done(errCall), errCall)
	require.NoError(t, b.Run(innermost.Context(), ok))
	require.Equal(t, 1, b.Stats().InUse)
	require.NoError(t, innermost.Done(nil))
	require.Equal(t, stability.Calls{Succeeded: 3, Failed: 1, Rejected: 2}, b.Stats().Calls)
	requireIdle(t, b)

	// The other way round, with a panic and a Goexit.
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(t.Context(), func(ctx context.Context) error {
			func() {
				defer func() { _ = recover() }()
				_ = b.Run(ctx, func(context.Context) error { panic("inner") })
			}()
			if n := b.Stats().InUse; n != 1 {
				t.Errorf("%d in use", n)
			}
			_ = b.Run(ctx, func(context.Context) error { runtime.Goexit(); return nil })
			return nil
		})
	}()
	<-done
	requireIdle(t, b)
}

// A context that outlives its call carries nothing of it: neither its permit nor the
// next one's. One that outlives an inner call is still within the outer one.
//
// Contract: 49
func TestContextThatOutlivesItsCall(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	pass := enter(t, b)
	old := pass.Context()
	require.NoError(t, pass.Done(nil))
	require.NoError(t, b.Run(t.Context(), func(ctx context.Context) error {
		requireRefused(t, b.Run(old, ok))
		var inner context.Context
		require.NoError(t, b.Run(ctx, func(ctx context.Context) error { inner = ctx; return nil }))
		require.NoError(t, b.Run(inner, ok))
		return nil
	}))
	requireIdle(t, b)
}

// Another bulkhead's calls are not inside of this one's, and values and the end of the
// caller's context pass through.
//
// Contract: 49
func TestMarkIsOneBulkheads(t *testing.T) {
	type key struct{}
	one, other := bulkhead.New(bulkhead.Config{Limit: 1}), bulkhead.New(bulkhead.Config{Limit: 1})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	defer cancel()
	require.NoError(t, one.Run(ctx, func(ctx context.Context) error {
		held := enter(t, other)
		requireRefused(t, other.Run(ctx, ok))
		require.NoError(t, held.Done(nil))
		return other.Run(ctx, func(ctx context.Context) error {
			require.NoError(t, one.Run(ctx, ok), "further out")
			require.Equal(t, "v", ctx.Value(key{}))
			require.NoError(t, ctx.Err())
			cancel()
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			<-ctx.Done()
			return nil
		})
	}))
	requireIdle(t, one)
	requireIdle(t, other)
}

// A queue does not hold up who is within.
//
// Contract: 15, 49
func TestInnerCallDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 10})
		pass := enter(t, b)
		order := make(chan string, 3)
		go func() { _ = b.Run(context.Background(), func(context.Context) error { order <- "waiter"; return nil }) }()
		synctest.Wait()
		require.NoError(t, b.Run(pass.Context(), func(context.Context) error { order <- "inner"; return nil }))
		require.Equal(t, "inner", <-order)
		require.NoError(t, pass.Done(nil))
		require.Equal(t, "waiter", <-order)
		synctest.Wait()
		requireIdle(t, b)
	})
}

// Those who came first, while few permits were in use, are not marked. SetLimit leaves no
// more permits than there are of them, and each waits for another permit: one at a time is
// let in above the limit, and they all end.
//
// Contract: 18, 49
func TestCallsWithinCallsEndUnderALoweredLimit(t *testing.T) {
	for _, after := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(bulkhead.Config{Limit: 100, Queue: 100})
			var wg sync.WaitGroup
			var inner, most atomic.Int64
			for range 12 {
				wg.Go(func() {
					if err := b.Run(t.Context(), func(ctx context.Context) error {
						time.Sleep(time.Second)
						return b.Run(ctx, func(context.Context) error {
							most.Store(max(most.Load(), inner.Add(1)))
							defer inner.Add(-1)
							time.Sleep(time.Second)
							return nil
						})
					}); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(time.Millisecond)
			if after { // all wait already, behind others
				for range 88 {
					pass := enter(t, b)
					time.AfterFunc(1500*time.Millisecond, func() { _ = pass.Done(nil) })
				}
				time.Sleep(1200 * time.Millisecond)
			}
			require.NoError(t, b.SetLimit(1))
			wg.Wait()
			require.EqualValues(t, 1, most.Load())
			requireIdle(t, b)
		})
	}
}

// All of it at once: calls within calls three deep, some beside one another and some that
// outlive their caller, that panic, end their goroutine and are canceled, while a limit
// moves up and far down. All end, with the permits of all back.
//
// Contract: 14, 15, 18, 45, 49
func TestNothingIsLostWithin(t *testing.T) {
	const goroutines, each, highest = 64, 100, 80
	b := bulkhead.New(bulkhead.Config{Limit: 20, Queue: 10000})
	var started, refused atomic.Int64
	var late sync.WaitGroup
	var work func(depth int, cancel context.CancelFunc) func(context.Context) error
	call := func(ctx context.Context, depth int) {
		ended := make(chan struct{})
		go func() { // a Goexit ends it
			defer close(ended)
			defer func() { _ = recover() }()
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if rand.IntN(8) == 0 {
				go cancel()
			}
			if rand.IntN(4) == 0 {
				pass, err := b.Enter(ctx)
				if err != nil {
					if stability.Rejected(err) {
						refused.Add(1)
					}
					return
				}
				late.Go(func() {
					started.Add(1)
					runtime.Gosched()
					_ = pass.Done(nil)
				})
				return
			}
			if err := b.Run(ctx, work(depth, cancel)); stability.Rejected(err) {
				refused.Add(1)
			}
		}()
		<-ended
	}
	work = func(depth int, cancel context.CancelFunc) func(context.Context) error {
		return func(ctx context.Context) error {
			started.Add(1)
			var wg sync.WaitGroup
			if depth > 0 {
				for range 1 + rand.IntN(2) {
					wg.Go(func() { call(ctx, depth-1) })
				}
			}
			runtime.Gosched()
			switch rand.IntN(6) {
			case 0:
				panic("the call")
			case 1:
				runtime.Goexit()
			case 2:
				cancel()
			}
			wg.Wait()
			return nil
		}
	}
	stop := make(chan struct{})
	var limits, callers sync.WaitGroup
	limits.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				err := b.SetLimit(1 + rand.IntN(highest)*rand.IntN(2))
				if rand.IntN(4) == 0 {
					err = b.SetMode([]stability.Mode{stability.ModeOn, stability.ModeObserve, stability.ModeOpen}[rand.IntN(3)])
				}
				if err != nil {
					t.Error(err)
				}
				b.Lend()
				runtime.Gosched()
			}
		}
	})
	for range goroutines {
		callers.Go(func() {
			for range each {
				call(context.Background(), 2)
			}
		})
	}
	callers.Wait()
	close(stop)
	limits.Wait()
	require.NoError(t, b.SetMode(stability.ModeOn))
	for b.Stats().InUse > 0 { // inner calls that nobody waited for
		runtime.Gosched()
	}
	late.Wait()
	stats := b.Stats()
	require.Equal(t, started.Load(), stats.Started())
	require.Zero(t, b.Marked())
	requireIdle(t, b)
}
