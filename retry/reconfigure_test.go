package retry_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

var errDown = errors.New("down")

func down(context.Context) error { return errDown }

// attempts returns how often r makes a call that fails.
func attempts(t *testing.T, r *retry.Retry) (n int) {
	t.Helper()
	require.ErrorIs(t, r.Run(t.Context(), func(context.Context) error { n++; return errDown }), errDown)
	return n
}

// A call keeps the configuration that it began with.
//
// Contract: 56
func TestReconfigureIsForNewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Name: "api", Attempts: 4, Base: time.Second, Max: time.Second, Budget: retry.Unlimited()})
		n := 0
		err := r.Run(t.Context(), func(context.Context) error {
			n++
			require.NoError(t, r.Reconfigure(retry.Config{Name: "another", Attempts: 2, Budget: retry.Unlimited()}))
			return errDown
		})
		require.Equal(t, 4, n)
		var gaveUp *retry.Error
		require.ErrorAs(t, err, &gaveUp)
		require.Equal(t, "api", gaveUp.Name)
		require.Equal(t, 2, attempts(t, r))

		before := r.Config()
		require.Equal(t, 50*time.Millisecond, before.Base, "the default")
		for _, bad := range []retry.Config{{Attempts: -1}, {Base: -1}, {Base: 2, Max: 1}, {MaxPushback: -1}} {
			require.Error(t, r.Reconfigure(bad))
		}
		require.Equal(t, before.Attempts, r.Config().Attempts, "what is not usable changes nothing")

		cfg := r.Config()
		cfg.Attempts = 1
		require.NoError(t, r.Reconfigure(cfg))
		require.Equal(t, 1, attempts(t, r))
		require.Same(t, cfg.Budget, r.Config().Budget)
		require.EqualValues(t, 3, r.Stats().Exhausted)
	})
}

// What the policy's own budget has spent stays spent, whatever other budgets were in use.
//
// Contract: 29, 56
func TestReconfigureKeepsTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Attempts: 100, Base: 1, Max: 1})
		first := attempts(t, r)
		require.Equal(t, 11, first, "ten a window without calls, and those of one call")
		require.NoError(t, r.Reconfigure(retry.Config{Attempts: 100, Base: 1, Max: 1}))
		require.Equal(t, 1, attempts(t, r))
		require.NoError(t, r.Reconfigure(retry.Config{Attempts: 3, Base: 1, Max: 1, Budget: retry.Unlimited()}))
		require.Equal(t, 3, attempts(t, r))
		require.NoError(t, r.Reconfigure(retry.Config{Attempts: 100, Base: 1, Max: 1}))
		require.Equal(t, 1, attempts(t, r))
		require.EqualValues(t, 10, r.Stats().Budget.Spent)
	})
}

// Contract: 29, 56
func TestBudgetReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type tenant struct{}
		of := func(name string) context.Context { return context.WithValue(t.Context(), tenant{}, name) }
		spend := func(b *retry.Budget) (n int) {
			for b.Spend() {
				n++
			}
			return n
		}
		b := retry.NewBudget(retry.BudgetConfig{MinPerSecond: 2})
		require.Equal(t, 20, spend(b))
		require.NoError(t, b.Reconfigure(retry.BudgetConfig{MinPerSecond: 5}))
		require.Equal(t, 30, spend(b), "what it has spent counts")
		require.NoError(t, b.Reconfigure(retry.BudgetConfig{MinPerSecond: 1}))
		require.Zero(t, spend(b))
		require.Equal(t, retry.BudgetStats{Limit: 10, Spent: 50}, b.Stats())
		require.ErrorContains(t, b.Reconfigure(retry.BudgetConfig{Window: time.Minute}), "Window")
		require.Error(t, b.Reconfigure(retry.BudgetConfig{Ratio: -1}))
		require.NoError(t, b.Reconfigure(b.Config()))

		keyed := retry.NewBudget(retry.BudgetConfig{
			Key: func(ctx context.Context) string { return ctx.Value(tenant{}).(string) },
		})
		a := keyed.For(of("a"))
		require.NoError(t, keyed.Reconfigure(retry.BudgetConfig{MinPerSecond: 3, TotalMinPerSecond: 4}))
		require.Equal(t, 30, spend(a))
		require.Equal(t, 10, spend(keyed.For(of("b"))), "of the total")
		require.NoError(t, keyed.Reconfigure(keyed.Config()))
		require.ErrorContains(t, a.Reconfigure(retry.BudgetConfig{}), "key")
		require.Zero(t, a.Config())
		require.NoError(t, (*retry.Budget)(nil).Reconfigure(retry.BudgetConfig{}))
		require.NoError(t, retry.Unlimited().Reconfigure(retry.BudgetConfig{}))
		require.True(t, retry.Unlimited().Spend())
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Base: 1, Max: 1, Budget: retry.Unlimited()})
		require.NoError(t, r.SetMode(stability.ModeOff))
		require.Equal(t, 1, attempts(t, r))
		require.Equal(t, errDown, r.Run(t.Context(), down), "as if there was no Retry") //nolint:testifylint // The error itself.
		require.Equal(t, stability.ModeOff, r.Stats().Mode)
		require.EqualValues(t, 2, r.Stats().Failed)
		inner := retry.New(retry.Config{Base: 1, Max: 1, Budget: retry.Unlimited()})
		n := 0
		err := r.Run(t.Context(), func(ctx context.Context) error {
			return inner.Run(ctx, func(context.Context) error { n++; return errDown })
		})
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, 3, n, "an inner one decides")
		require.NoError(t, r.Reconfigure(retry.Config{Attempts: 7}))
		require.Equal(t, 1, attempts(t, r), "a mode stays")
		require.ErrorContains(t, r.SetMode(stability.ModeOpen), "open")
		require.Error(t, r.SetMode(stability.ModeObserve))
		require.NoError(t, r.SetMode(stability.ModeOn))
		require.Equal(t, 7, attempts(t, r))
	})
}

// However often the configuration changes under load, each call is made as often as one that
// was in force says, and each is counted once.
//
// Contract: 56
func TestReconfigureUnderLoad(t *testing.T) {
	const goroutines, calls = 20, 200
	r := retry.New(retry.Config{Attempts: 2, Base: 1, Max: 1, Budget: retry.Unlimited()})
	var wg, changes sync.WaitGroup
	var stop atomic.Bool
	changes.Go(func() {
		for n := 0; !stop.Load(); n++ {
			if err := r.Reconfigure(retry.Config{Attempts: 2 + 3*(n%2), Base: 1, Max: 1, Budget: retry.Unlimited()}); err != nil {
				t.Error(err)
			}
			_ = r.SetMode(stability.ModeOff * stability.Mode(n%3/2))
		}
	})
	for range goroutines {
		wg.Go(func() {
			for range calls {
				n := 0
				_ = r.Run(context.Background(), func(context.Context) error { n++; return errDown })
				if n != 1 && n != 2 && n != 5 {
					t.Errorf("%d attempts", n)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	changes.Wait()
	require.EqualValues(t, goroutines*calls, r.Stats().Failed)
}

func TestReconfigureOfNil(t *testing.T) {
	var r *retry.Retry
	require.NoError(t, r.Reconfigure(retry.Config{Attempts: -1}))
	require.NoError(t, r.SetMode(stability.ModeOff))
	require.Equal(t, 1, r.Config().Attempts)
}
