package bulkhead_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// Permits that lie on shelves are as good as those that do not: none is lost, none
// is given out twice, and nobody is refused while there is one.
//
// Contract: 14, 16
func TestPermitsOnShelves(t *testing.T) {
	const limit = 100
	b := bulkhead.New(bulkhead.Config{Limit: limit})
	for range 50 {
		require.True(t, b.Lend())
		passes := make([]*stability.Pass, 40)
		var wg sync.WaitGroup
		for i := range passes {
			wg.Go(func() { passes[i], _ = b.Enter(context.Background()) })
		}
		wg.Wait()
		for _, p := range passes {
			wg.Go(func() { _ = p.Done(nil) }) // each to the shelf of its goroutine
		}
		wg.Wait()
		require.Zero(t, b.Stats().InUse)

		all := make([]*stability.Pass, limit)
		for i := range all {
			var err error
			all[i], err = b.Enter(context.Background())
			require.NoError(t, err, "permit %d of %d", i+1, limit)
		}
		require.Equal(t, limit, b.Stats().InUse)
		require.ErrorIs(t, b.Run(context.Background(), ok), bulkhead.ErrFull)
		for _, p := range all {
			_ = p.Done(nil)
		}
		require.True(t, b.AtRest())
	}
}

// Contract: 14, 16, 18
func TestShelvesUnderSiege(t *testing.T) {
	const limit = 100
	b := bulkhead.New(bulkhead.Config{Limit: limit, Queue: 1000})
	require.True(t, b.Lend()) // nobody may lend later: most permits are in use then
	var running atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	lenders := make(chan struct{})
	go func() {
		defer close(lenders)
		for {
			select {
			case <-stop:
				return
			default:
				b.Lend()
				runtime.Gosched()
			}
		}
	}()
	for range 300 { // more than permits: shelves are reclaimed again and again
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(10) == 0 {
					go cancel()
				}
				_ = b.Run(ctx, func(context.Context) error {
					if n := running.Add(1); n > limit {
						t.Errorf("%d calls run", n)
					}
					for range rand.IntN(3) {
						runtime.Gosched()
					}
					running.Add(-1)
					return nil
				})
				cancel()
			}
		})
	}
	wg.Wait()
	close(stop)
	<-lenders
	require.True(t, b.AtRest())
	require.NoError(t, b.SetLimit(1))
	require.NoError(t, b.Run(t.Context(), func(context.Context) error {
		require.Equal(t, 1, b.Stats().InUse)
		return nil
	}))
}

// A permit that comes back at the very instant at which shelves are cleared is
// carried on by one of the two.
//
// Contract: 14
func TestPermitReturnsAsShelvesAreCleared(t *testing.T) {
	const limit = 64
	b := bulkhead.New(bulkhead.Config{Limit: limit})
	passes := make([]*stability.Pass, limit)
	for i := range 20_000 {
		require.True(t, b.Lend())
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		var ready atomic.Int32
		together := func(offset int) {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
			for range offset {
				ready.Load()
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { together(i % 64); _ = pass.Done(nil) })
		wg.Go(func() { together(i / 64 % 64); _ = b.SetLimit(limit) })
		wg.Wait()
		for i := range passes {
			if passes[i], err = b.Enter(t.Context()); err != nil {
				t.Fatalf("permit %d of %d: %v", i+1, limit, err)
			}
		}
		for _, p := range passes {
			_ = p.Done(nil)
		}
	}
}

// Where there are more permits than callers nobody is refused, though shelves come
// into use and are cleared all the time.
//
// Contract: 16
func TestNobodyIsRefusedWhilePermitsAreOnTheirWay(t *testing.T) {
	const limit, callers = 64, 60
	b := bulkhead.New(bulkhead.Config{Limit: limit})
	stop := make(chan struct{})
	var others, wg sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				b.Lend()
				runtime.Gosched()
				_ = b.SetLimit(limit) // reclaims
			}
		}
	})
	for range callers {
		wg.Go(func() {
			for range 2000 {
				if err := b.Run(context.Background(), yield); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	others.Wait()
	require.Equal(t, stability.Calls{Succeeded: callers * 2000}, b.Stats().Calls)
	requireIdle(t, b)
}

// Permits that wander from shelf to shelf while somebody reads are not counted twice,
// at the cost of one that is held all the time: a Group would forget its bulkhead.
//
// Contract: 42, 43
func TestInUseIsReadWhilePermitsWander(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(64)) // many shelves
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 100}, stability.Keys{Max: 1})
	b := g.Get("a")
	require.True(t, b.Lend())
	held := enter(t, b)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var p *stability.Pass
			take := func() { p, _ = b.Enter(context.Background()) }
			put := func() { _ = p.Done(nil) }
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				deeper(n%16, take)
				deeper((n+1)%16, put)
			}
		})
	}
	for range 20_000 {
		b.Lend()
		if n := b.Stats().InUse; n < 1 || n > 3 {
			t.Errorf("%d in use", n)
			break
		}
		b.Lend()
		g.Get("b")
		if g.Get("a") != b {
			t.Error("forgotten while in use")
			break
		}
	}
	close(stop)
	wg.Wait()
	require.NoError(t, held.Done(nil))
	requireIdle(t, b)
}

// deeper calls f n times 2 KiB further down the stack, where another shelf is.
//
//go:noinline
func deeper(n int, f func()) byte {
	var room [2048]byte
	if n == 0 {
		f()
	} else {
		room[n] = deeper(n-1, f)
	}
	return room[n]
}

func TestNothingIsLentWhileMostIsInUse(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 100})
	passes := make([]*stability.Pass, 51)
	for i := range passes {
		passes[i], _ = b.Enter(t.Context())
	}
	require.False(t, b.Lend())
	_ = passes[0].Done(nil)
	require.True(t, b.Lend())
}

// A limit that was lowered holds from then on, wherever permits lie.
//
// Contract: 18
func TestLoweredLimitReclaims(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 100})
	require.True(t, b.Lend())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _ = b.Run(context.Background(), ok) })
	}
	wg.Wait()
	require.NoError(t, b.SetLimit(2))
	require.False(t, b.Lend(), "too few permits to lend")
	one, err := b.Enter(t.Context())
	require.NoError(t, err)
	two, err := b.Enter(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, b.Run(t.Context(), ok), bulkhead.ErrFull)
	_, _ = one.Done(nil), two.Done(nil)
	require.True(t, b.AtRest())
}
