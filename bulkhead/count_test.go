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

// watch fails the test when a count that is read while f runs falls, or is larger
// than at the end.
func watch(t *testing.T, b *bulkhead.Bulkhead, f func()) {
	t.Helper()
	done := make(chan struct{})
	var reader sync.WaitGroup
	var last stability.Calls
	reader.Go(func() {
		for {
			now := b.Stats().Calls
			if now.Succeeded < last.Succeeded || now.Failed < last.Failed || now.Ignored < last.Ignored || now.Rejected < last.Rejected {
				t.Errorf("from %+v to %+v", last, now)
				return
			}
			last = now
			select {
			case <-done:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	f()
	close(done)
	reader.Wait()
	require.LessOrEqual(t, last.Succeeded, b.Stats().Succeeded)
}

// The count that a word, or a shelf, has no more room for is carried elsewhere, and
// nothing else in it is touched.
//
// Contract: 14, 43
func TestCountIsFolded(t *testing.T) {
	for _, lent := range []bool{false, true} {
		b := bulkhead.New(bulkhead.Config{Limit: 100})
		pass := enter(t, b)
		for _, room := range []uint64{1, 2, 3} {
			before := b.Stats()
			require.True(t, !lent || b.Lend()) // a reading ends it
			b.BeforeFold(room)
			for n := range 20 {
				require.NoError(t, b.Run(t.Context(), ok))
				before.Succeeded++
				if !lent {
					require.Equal(t, before, b.Stats(), "room for %d, call %d", room, n)
				}
			}
			require.False(t, b.FoldDue())
			require.Equal(t, before, b.Stats(), "room for %d", room)
		}
		require.NoError(t, pass.Done(nil))
		requireIdle(t, b)
	}
}

// Whatever else happens to word at the instant of a fold, no call is missed, no
// count falls and no permit is lost: calls on shelves, in the queue and past it, and
// a limit that moves.
//
// Contract: 14, 18, 43
func TestCountIsFoldedUnderSiege(t *testing.T) {
	for name, cfg := range map[string]bulkhead.Config{
		"word":    {Limit: 63},
		"shelves": {Limit: 1000},
		"queue":   {Limit: 2, Queue: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			const goroutines, each = 32, 2000
			b := bulkhead.New(cfg)
			var succeeded, failed, rejected atomic.Int64
			watch(t, b, func() {
				var callers, others sync.WaitGroup
				stop := make(chan struct{})
				others.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							b.Lend()
							b.BeforeFold(uint64(rand.IntN(100)))
							if err := b.SetLimit(cfg.Limit + rand.IntN(2)); err != nil {
								t.Error(err)
							}
							runtime.Gosched()
						}
					}
				})
				for range goroutines {
					callers.Go(func() {
						for n := range each {
							var want error
							if n%10 == 0 {
								want = errCall
							}
							switch err := b.Run(context.Background(), func(context.Context) error { return want }); {
							case stability.Rejected(err):
								rejected.Add(1)
							case err != nil:
								failed.Add(1)
							default:
								succeeded.Add(1)
							}
						}
					})
				}
				callers.Wait()
				close(stop)
				others.Wait()
			})
			require.Equal(t, stability.Calls{
				Succeeded: succeeded.Load(), Failed: failed.Load(), Rejected: rejected.Load(),
			}, b.Stats().Calls)
			require.NoError(t, b.SetLimit(cfg.Limit))
			requireIdle(t, b)
		})
	}
}

// A hundred thousand goroutines at once, fewer under the race detector, and not a
// call is missed.
//
// Contract: 43, 45
func TestManyGoroutinesAreCounted(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 2 * manyGoroutines})
	b.BeforeFold(manyGoroutines / 2)
	start := make(chan struct{})
	watch(t, b, func() {
		var wg sync.WaitGroup
		for n := range manyGoroutines {
			wg.Go(func() {
				<-start
				_ = b.Run(context.Background(), func(context.Context) error {
					if n%4 == 0 {
						return errCall
					}
					return nil
				})
			})
		}
		close(start)
		wg.Wait()
	})
	require.Equal(t, stability.Calls{Succeeded: manyGoroutines * 3 / 4, Failed: manyGoroutines / 4}, b.Stats().Calls)
	require.False(t, b.FoldDue())
	require.True(t, b.AtRest())
}

// A call whose Classifier is the user's is counted as that says, and one in a Group
// by its member and by the group.
//
// Contract: 43
func TestSuccessIsCountedOnce(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, Classify: func(context.Context, error) stability.Outcome { return stability.Ignored }})
	require.NoError(t, b.Run(t.Context(), ok))
	require.Equal(t, stability.Calls{Ignored: 1}, b.Stats().Calls)

	g := bulkhead.NewGroup(bulkhead.Config{Limit: 100}, stability.Keys{})
	a := g.Get("a")
	require.True(t, a.Lend())
	for range 3 {
		require.NoError(t, a.Run(t.Context(), ok))
		require.ErrorIs(t, a.Run(t.Context(), func(context.Context) error { return errCall }), errCall)
	}
	require.Equal(t, stability.Calls{Succeeded: 3, Failed: 3}, a.Stats().Calls)
	require.Equal(t, stability.Calls{Succeeded: 3, Failed: 3}, g.Stats().Calls)
}
