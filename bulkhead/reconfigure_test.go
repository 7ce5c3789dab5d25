package bulkhead_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// hold lets n calls in that last until they are told to end.
func hold(t *testing.T, b *bulkhead.Bulkhead, n int) (end func()) {
	t.Helper()
	var passes []*stability.Pass
	for range n {
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		passes = append(passes, pass)
	}
	return func() {
		for _, pass := range passes {
			require.NoError(t, pass.Done(nil))
		}
	}
}

// A lower limit interrupts nobody, and admits again when fewer are in use.
//
// Contract: 56
func TestReconfigure(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 10})
	end5, end2 := hold(t, b, 5), hold(t, b, 2)
	require.NoError(t, b.Reconfigure(bulkhead.Config{Name: "another", Limit: 3}))
	require.Equal(t, "db", b.Config().Name)
	require.Equal(t, 7, b.Stats().InUse)
	_, err := b.Enter(t.Context())
	require.ErrorIs(t, err, bulkhead.ErrFull)
	end5()
	hold(t, b, 1)()
	end2()

	before := b.Config()
	for _, bad := range []bulkhead.Config{{}, {Limit: -1}, {Limit: 1 << 30}, {Limit: 1, Queue: -1}, {Limit: 1, MaxWait: time.Second}} {
		require.Error(t, b.Reconfigure(bad))
	}
	require.Equal(t, before, b.Config(), "what is not usable changes nothing")
	require.NoError(t, b.SetLimit(50))
	require.Equal(t, 50, b.Config().Limit)
	require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 4}))
	require.Equal(t, 4, b.Stats().Limit)
	require.Equal(t, stability.Calls{Succeeded: 8, Rejected: 1}, b.Stats().Calls, "nothing counted is lost")
}

// The queue keeps its order, and nobody in it is refused for a smaller one.
//
// Contract: 56
func TestReconfigureKeepsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 10})
		end := hold(t, b, 1)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				require.NoError(t, b.Run(t.Context(), func(context.Context) error {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					time.Sleep(time.Second)
					return nil
				}))
			})
			synctest.Wait()
		}
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, Queue: 2, MaxWait: time.Second}))
		synctest.Wait()
		require.Equal(t, 10, b.Stats().Queued)
		_, err := b.Enter(t.Context())
		require.ErrorIs(t, err, bulkhead.ErrFull)
		began := time.Now()
		end()
		synctest.Wait()
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 3}))
		wg.Wait()
		require.Equal(t, 4*time.Second, time.Since(began))
		require.ElementsMatch(t, []int{0, 1, 2}, order[:3])
		require.Equal(t, 0, order[0])
		require.Zero(t, b.Stats().Queued)
		require.Zero(t, b.Stats().InUse)
	})
}

// Contract: 56
func TestGroupReconfiguresItsMembers(t *testing.T) {
	g := bulkhead.NewGroup(bulkhead.Config{Limit: 2}, stability.Keys{})
	eu, own := g.Get("eu"), g.Get("own")
	require.NoError(t, own.SetLimit(9))
	end := hold(t, eu, 2)
	require.NoError(t, g.Reconfigure(bulkhead.Config{Limit: 3}))
	require.Same(t, eu, g.Get("eu"))
	hold(t, eu, 1)()
	require.Equal(t, 9, own.Stats().Limit, "its own")
	require.Equal(t, 3, g.Get("us").Stats().Limit)
	require.Equal(t, 3, g.Config().Limit)
	require.ErrorContains(t, eu.Reconfigure(bulkhead.Config{Limit: 1}), "Group")
	require.ErrorContains(t, eu.SetMode(stability.ModeOff), "Group")
	require.Error(t, g.Reconfigure(bulkhead.Config{}))
	require.NoError(t, g.SetMode(stability.ModeOpen))
	for _, key := range []string{"eu", "own", "later"} {
		_, err := g.Get(key).Enter(t.Context())
		require.ErrorIs(t, err, bulkhead.ErrFull)
	}
	require.NoError(t, g.SetMode(stability.ModeObserve))
	endMore := hold(t, eu, 10)
	require.EqualValues(t, 9, g.Stats().Observed)
	require.EqualValues(t, 9, eu.Stats().Observed)
	require.Equal(t, 3, eu.Stats().InUse)
	require.NoError(t, g.SetMode(stability.ModeOn))
	end()
	endMore()
	require.Zero(t, g.Stats().InUse)
	require.EqualValues(t, 13, g.Stats().Succeeded)
}

func TestModes(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 2, Queue: 5})
	require.NoError(t, b.SetMode(stability.ModeObserve))
	end := hold(t, b, 5)
	s := b.Stats()
	require.Equal(t, stability.ModeObserve, s.Mode)
	require.EqualValues(t, 3, s.Observed)
	require.Equal(t, 2, s.InUse)
	require.Equal(t, 2, s.Limit)
	end()
	require.Equal(t, stability.Calls{Succeeded: 5}, b.Stats().Calls)

	require.NoError(t, b.SetMode(stability.ModeOff))
	end = hold(t, b, 100)
	require.Zero(t, b.Stats().InUse)
	require.NoError(t, b.SetMode(stability.ModeOn))
	hold(t, b, 2)()
	end()
	require.Zero(t, b.Stats().InUse)
	require.Equal(t, stability.Calls{Succeeded: 7}, b.Stats().Calls)

	require.NoError(t, b.SetMode(stability.ModeOpen))
	_, err := b.Enter(t.Context())
	require.ErrorIs(t, err, bulkhead.ErrFull)
	require.ErrorIs(t, err, stability.ErrRejected)
	require.ErrorContains(t, err, "mode open")
	require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 100}))
	require.ErrorIs(t, b.Run(t.Context(), func(context.Context) error { return nil }), bulkhead.ErrFull, "a mode stays")
	require.Error(t, b.SetMode(99))
	require.NoError(t, b.SetMode(stability.ModeOn))
	hold(t, b, 100)()

	require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, Observe: true}))
	hold(t, b, 10)()
	require.EqualValues(t, 3+9, b.Stats().Observed)

	// A panic gives back what was taken.
	require.Panics(t, func() { _ = b.Run(t.Context(), func(context.Context) error { panic("the call") }) })
	require.Zero(t, b.Stats().InUse)
}

// Calls in the queue do not stay there when nobody waits any more.
func TestModeEndsWaits(t *testing.T) {
	for mode, want := range map[stability.Mode]error{
		stability.ModeOff: nil, stability.ModeObserve: nil, stability.ModeOpen: bulkhead.ErrFull,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(bulkhead.Config{Limit: 2, Queue: 30})
				end := hold(t, b, 2)
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						require.ErrorIs(t, b.Run(t.Context(), func(context.Context) error { return nil }), want)
					})
				}
				synctest.Wait()
				require.Equal(t, 20, b.Stats().Queued)
				require.NoError(t, b.SetMode(mode))
				wg.Wait()
				require.Zero(t, b.Stats().Queued)
				end()
				require.Zero(t, b.Stats().InUse)
				require.NoError(t, b.SetMode(stability.ModeOn))
				hold(t, b, 2)()
			})
		})
	}
}

func TestReconfigureOfNil(t *testing.T) {
	var b *bulkhead.Bulkhead
	var g *bulkhead.Group
	require.NoError(t, b.Reconfigure(bulkhead.Config{}))
	require.NoError(t, g.Reconfigure(bulkhead.Config{}))
	require.NoError(t, b.SetMode(stability.ModeOpen))
	require.NoError(t, g.SetMode(stability.ModeOpen))
	hold(t, b, 10)()
	require.Zero(t, b.Config().Limit)
	require.Zero(t, g.Config().Limit)
}
