package bulkhead_test

import (
	"context"
	"errors"
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

// requireIdle fails the test unless b has every permit back and can give all of them
// out again.
func requireIdle(t testing.TB, b *bulkhead.Bulkhead) {
	t.Helper()
	require.True(t, b.AtRest(), "%+v", b.Stats())
	limit := b.Stats().Limit
	passes := make([]*stability.Pass, limit)
	for i := range passes {
		passes[i] = enter(t, b)
	}
	require.Equal(t, limit, b.Stats().InUse)
	for _, pass := range passes {
		require.NoError(t, pass.Done(nil))
	}
	require.True(t, b.AtRest())
}

// Contract: 14
func TestLimit(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Name: "payments", Limit: 3})
	var passes []*stability.Pass
	for n := range 3 {
		require.Equal(t, n, b.Stats().InUse)
		passes = append(passes, enter(t, b))
	}
	r := requireRefused(t, b.Run(t.Context(), func(context.Context) error { t.Error("ran"); return nil }))
	require.Equal(t, &stability.Rejection{Policy: "bulkhead", Name: "payments", Reason: bulkhead.ErrFull}, r)
	require.EqualError(t, r, "payments: bulkhead: full")
	_, err := bulkhead.Do(t.Context(), b, func(context.Context) (int, error) { t.Error("ran"); return 1, nil })
	requireRefused(t, err)
	_, err = b.Enter(t.Context())
	requireRefused(t, err)

	require.NoError(t, passes[1].Done(nil))
	v, err := bulkhead.Do(t.Context(), b, func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
	require.NoError(t, passes[0].Done(nil))
	require.NoError(t, passes[2].Done(nil))
	require.Equal(t, bulkhead.Stats{Calls: stability.Calls{Succeeded: 4, Rejected: 3}, Limit: 3}, b.Stats())
}

// A Classifier is asked when the permit is back: what it does can use the bulkhead,
// and a panic in it takes no permit along.
//
// Contract: 14
func TestPermitIsBackBeforeClassify(t *testing.T) {
	var b *bulkhead.Bulkhead
	var nested error
	b = bulkhead.New(bulkhead.Config{Limit: 1, Classify: func(_ context.Context, err error) stability.Outcome {
		if err != nil {
			panic(err)
		}
		_, nested = b.Enter(context.Background()) // and keeps it
		return stability.Ignored
	}})
	failed := errors.New("failed")
	require.PanicsWithError(t, "failed", func() {
		_ = b.Run(t.Context(), func(context.Context) error { return failed })
	})
	require.True(t, b.AtRest())
	require.NoError(t, b.Run(t.Context(), ok))
	require.NoError(t, nested)
	require.Equal(t, 1, b.Stats().InUse)
}

// Contract: 17
func TestTimedOutCallHoldsItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			_ = b.Run(ctx, func(context.Context) error { time.Sleep(10 * time.Second); return nil }) // deaf to ctx
		}()
		time.Sleep(9 * time.Second)
		require.Error(t, ctx.Err())
		require.Equal(t, 1, b.Stats().InUse)
		requireRefused(t, b.Run(t.Context(), ok))
		time.Sleep(2 * time.Second)
		requireIdle(t, b)
	})
}

// Contract: 18
func TestSetLimitDown(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 4})
	var passes []*stability.Pass
	for range 4 {
		passes = append(passes, enter(t, b))
	}
	require.NoError(t, b.SetLimit(2))
	require.Equal(t, bulkhead.Stats{Limit: 2, InUse: 4}, b.Stats())
	for n, pass := range passes[:3] {
		requireRefused(t, b.Run(t.Context(), ok))
		require.NoError(t, pass.Done(nil))
		require.Equal(t, 3-n, b.Stats().InUse)
	}
	require.NoError(t, b.Run(t.Context(), ok))
	require.NoError(t, passes[3].Done(nil))
	requireIdle(t, b)
}

// Contract: 18
func TestSetLimitDownWithWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 2, Queue: 10})
		first, second := enter(t, b), enter(t, b)
		got := make(chan *stability.Pass, 3)
		for range 3 {
			go func() { p, _ := b.Enter(t.Context()); got <- p }()
		}
		synctest.Wait()
		require.NoError(t, b.SetLimit(1))
		require.NoError(t, first.Done(nil))
		synctest.Wait()
		require.Empty(t, got, "one is still inside")
		require.NoError(t, second.Done(nil))
		synctest.Wait()
		require.Len(t, got, 1)
		require.NoError(t, b.SetLimit(3))
		synctest.Wait()
		require.Len(t, got, 3, "above what is in use, it wakes those who wait")
		for range 3 {
			require.NoError(t, (<-got).Done(nil))
		}
		requireIdle(t, b)
	})
}

// Everything at once, from many goroutines: calls that return, fail, panic and end
// their goroutine, short patience and cancelled callers whose ends meet the grants,
// and a limit that moves. Never more inside than the highest limit, and at rest
// nothing is missing.
//
// Contract: 14, 15, 18, 45
func TestNothingIsLost(t *testing.T) {
	const goroutines, each, highest = 64, 300, 6
	b := bulkhead.New(bulkhead.Config{Limit: 3, Queue: 20, MaxWait: 200 * time.Microsecond})
	var inside, started, refused atomic.Int64
	work := func(cancel context.CancelFunc) func(context.Context) error {
		return func(ctx context.Context) error {
			if n := inside.Add(1); n > highest {
				t.Errorf("%d inside", n)
			}
			defer inside.Add(-1)
			started.Add(1)
			for range rand.IntN(20) {
				runtime.Gosched()
			}
			switch rand.IntN(5) {
			case 0:
				panic("the call")
			case 1:
				runtime.Goexit()
			case 2:
				cancel()
				return ctx.Err()
			}
			return nil
		}
	}
	call := func() {
		defer func() { _ = recover() }()
		ctx, cancel := context.WithCancel(context.Background())
		if rand.IntN(2) == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rand.IntN(300))*time.Microsecond)
		}
		defer cancel()
		if rand.IntN(3) == 0 {
			go cancel()
		}
		if err := b.Run(ctx, work(cancel)); stability.Rejected(err) {
			refused.Add(1)
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
				var err error
				switch rand.IntN(4) {
				case 0:
					err = b.Reconfigure(bulkhead.Config{Limit: 1 + rand.IntN(highest), Queue: rand.IntN(highest)})
				case 1:
					err = b.SetMode(stability.ModeOpen * stability.Mode(rand.IntN(2)))
				default:
					err = b.SetLimit(1 + rand.IntN(highest))
				}
				if err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		}
	})
	for range goroutines {
		callers.Go(func() {
			for range each {
				ended := make(chan struct{})
				go func() { defer close(ended); call() }() // a Goexit ends it
				<-ended
			}
		})
	}
	callers.Wait()
	close(stop)
	limits.Wait()
	require.NoError(t, b.SetMode(stability.ModeOn))
	stats := b.Stats()
	require.Equal(t, started.Load(), stats.Started())
	require.Equal(t, refused.Load(), stats.Rejected)
	requireIdle(t, b)
}

// Contract: 14, 45
func TestManyCallers(t *testing.T) {
	const callers = 20_000 // the race detector keeps some 15 KB for each
	b := bulkhead.New(bulkhead.Config{Limit: 10, Queue: callers})
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			err := b.Run(context.Background(), func(context.Context) error {
				n := inside.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				runtime.Gosched()
				inside.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(10))
	require.Equal(t, stability.Calls{Succeeded: callers}, b.Stats().Calls)
	requireIdle(t, b)
}

func TestNil(t *testing.T) {
	var b *bulkhead.Bulkhead
	v, err := bulkhead.Do(t.Context(), b, func(context.Context) (string, error) { return "v", nil })
	require.NoError(t, err)
	require.Equal(t, "v", v)
	require.NoError(t, b.SetLimit(0))
	require.Zero(t, b.Stats())
}
