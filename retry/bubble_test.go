package retry_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/retry"
)

// A budget in a package variable: it is spent, and refills, under each clock.
//
// Contract: 30, 55
func TestBudgetAcrossBubbles(t *testing.T) {
	with := func(key string) context.Context { return context.WithValue(context.Background(), shard{}, key) }
	use := func(t testing.TB, b *retry.Budget) {
		for _, key := range []string{"a", "b"} {
			for b.For(with(key)).Spend() {
				continue
			}
			require.False(t, b.For(with(key)).Spend())
		}
		for b.Stats().Spent > 0 { // 110 ms
			time.Sleep(10 * time.Millisecond)
		}
		for range 50 {
			b.Earn(with("a"))
		}
		require.True(t, b.For(with("a")).Spend())
	}
	for name, cfg := range map[string]retry.BudgetConfig{
		"one budget":         {Window: 100 * time.Millisecond, MinPerSecond: 30},
		"one for each key":   {Window: 100 * time.Millisecond, MinPerSecond: 30, Key: ofShard, Keys: stability.Keys{IdleFor: 20 * time.Millisecond}},
		"one for few of all": {Window: 100 * time.Millisecond, MinPerSecond: 30, Key: ofShard, Keys: stability.Keys{Max: 1, IdleFor: 20 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.AcrossBubbles(t, func(testing.TB) *retry.Budget {
				b := retry.NewBudget(cfg)
				b.Earn(with("a"))
				b.For(with("a")).Spend()
				return b
			}, use)
			policytest.AcrossBubbles(t, func(t testing.TB) *retry.Budget {
				b := retry.NewBudget(cfg)
				use(t, b)
				return b
			}, use)
		})
	}
}

// A retry pauses, and is paid for, under each clock.
//
// Contract: 55
func TestRetryAcrossBubbles(t *testing.T) {
	use := func(t testing.TB, r *retry.Retry) {
		for range 2 {
			n := 0
			require.NoError(t, r.Run(t.Context(), func(context.Context) error {
				if n++; n < 3 {
					return errCall
				}
				return nil
			}))
		}
	}
	policytest.AcrossBubbles(t, func(t testing.TB) *retry.Retry {
		r := retry.New(retry.Config{Base: time.Millisecond})
		use(t, r)
		return r
	}, use)
}
