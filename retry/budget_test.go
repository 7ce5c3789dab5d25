package retry_test

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// fail makes calls that all fail, from as many goroutines as callers, and returns
// how many attempts there were.
func fail(calls, callers int, policies ...*retry.Retry) int64 {
	var attempts atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range calls / callers {
				_ = policies[i%len(policies)].Run(context.Background(), func(context.Context) error {
					attempts.Add(1)
					return errCall
				})
			}
		})
	}
	wg.Wait()
	return attempts.Load()
}

// On defaults: the ratio is 0.2, and the floor 10 in each window of 10s. A serial
// caller that pauses between attempts takes long, and earns the floor again in each
// window; without the floor it keeps to the ratio.
//
// Contract: 30
func TestBudgetBoundsAmplification(t *testing.T) {
	const calls = 1000
	for _, callers := range []int{1, 100, 1000} {
		synctest.Test(t, func(t *testing.T) {
			r := retry.New(retry.Config{})
			began := time.Now()
			attempts := fail(calls, callers, r)
			windows := 1 + int64(time.Since(began)/(10*time.Second))
			require.LessOrEqual(t, attempts, int64(1.2*calls)+10*windows)
			require.LessOrEqual(t, attempts, int64(1.25*calls)+10)
			require.GreaterOrEqual(t, attempts, int64(1.1*calls), "and what is earned can be spent")
			require.Equal(t, attempts, r.Stats().Attempts)
			require.Positive(t, r.Stats().OverBudget)
		})
	}
}

// Contract: 30
func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.NewBudget(retry.BudgetConfig{Ratio: 0.5, MinPerSecond: 1})
		var policies []*retry.Retry
		for range 10 {
			policies = append(policies, retry.New(retry.Config{Budget: b}))
		}
		attempts := fail(1000, 1000, policies...)
		require.LessOrEqual(t, attempts, int64(1510))
		require.Equal(t, attempts-1000, b.Stats().Spent)
		for range 10 {
			b.Spend()
		}
		require.Equal(t, retry.BudgetStats{Limit: 510, Spent: 510}, b.Stats(), "hedges spend from what retries left")
		require.False(t, b.Spend())
	})
}

// Contract: 30
func TestBudgetRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.NewBudget(retry.BudgetConfig{Ratio: 0.1, MinPerSecond: 1e-9})
		r := retry.New(retry.Config{Budget: b, Attempts: 100})
		require.EqualValues(t, 1100, fail(1000, 1, r), "all that was earned is spent")
		require.False(t, b.Spend())
		for range 10 {
			require.NoError(t, r.Run(t.Context(), ok))
		}
		require.True(t, b.Spend(), "ten calls pay for a retry")
		require.False(t, b.Spend())
		time.Sleep(time.Hour)
		require.Equal(t, retry.BudgetStats{}, b.Stats())
		require.False(t, b.Spend(), "an idle hour earns nothing")
	})
}

// A long good time does not bank retries for a bad one.
//
// Contract: 30
func TestBudgetForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.NewBudget(retry.BudgetConfig{})
		for range 3600 {
			for range 10 {
				b.Earn(t.Context())
			}
			time.Sleep(time.Second)
			synctest.Wait() // for the timer, which is due now
		}
		limit := b.Stats().Limit
		require.LessOrEqual(t, limit, int64(0.2*100+10))
		require.GreaterOrEqual(t, limit, int64(0.2*90+10))
	})
}

// A test's next bubble has a clock of its own, which begins anew, and no timer of the
// last one.
func TestBudgetInBubblesOneAfterTheOther(t *testing.T) {
	b := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1e-9})
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			require.Equal(t, retry.BudgetStats{}, b.Stats())
			b.Earn(t.Context())
			require.True(t, b.Spend())
			require.False(t, b.Spend())
			time.Sleep(20 * time.Second)
			b.Earn(t.Context())
			time.Sleep(9 * time.Second)
			require.True(t, b.Spend())
			require.False(t, b.Spend())
		})
	}
}

// The calls of a window pay once: spending late in it does not pay again in the
// next one.
func TestSlidingWindowPaysOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1e-9})
		for range 100 {
			b.Earn(t.Context())
		}
		time.Sleep(9*time.Second + 500*time.Millisecond)
		spent := 0
		for range 40 {
			for b.Spend() {
				spent++
			}
			time.Sleep(500 * time.Millisecond)
		}
		require.Equal(t, 100, spent)
	})
}

// Contract: 30
func TestCallEarnsOnceInEachBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1e-9})
		other := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1e-9})
		outer := retry.New(retry.Config{Budget: shared})
		middle := retry.New(retry.Config{Budget: other})
		inner := retry.New(retry.Config{Budget: shared})
		_ = outer.Run(t.Context(), func(ctx context.Context) error {
			return middle.Run(ctx, func(ctx context.Context) error {
				return inner.Run(ctx, func(ctx context.Context) error {
					shared.Earn(other.Earn(ctx))
					return errCall
				})
			})
		})
		require.Equal(t, retry.BudgetStats{Limit: 1, Spent: 1}, shared.Stats())
		require.Equal(t, retry.BudgetStats{Limit: 1}, other.Stats(), "a retry does not earn")
	})
}

func TestUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Budget: retry.Unlimited()})
		require.EqualValues(t, 3000, fail(1000, 10, r))
		require.Equal(t, retry.BudgetStats{Limit: math.MaxInt64}, r.Stats().Budget)
	})
}

// Contract: 41
func TestBudgetConfig(t *testing.T) {
	for _, cfg := range []retry.BudgetConfig{
		{Keys: stability.Keys{Max: 1}},
		{Key: ofShard, Keys: stability.Keys{Max: -1}},
		{Ratio: -1}, {Ratio: 101}, {Ratio: math.NaN()}, {Ratio: math.Inf(1)}, {Ratio: math.MaxFloat64},
		{MinPerSecond: -1}, {MinPerSecond: 2e6}, {MinPerSecond: math.NaN()}, {MinPerSecond: math.Inf(1)}, {MinPerSecond: math.Inf(-1)},
		{Window: -1}, {Window: time.Millisecond},
		{TotalMinPerSecond: 1}, {Key: ofShard, TotalMinPerSecond: 0.5}, {Key: ofShard, MinPerSecond: 3, TotalMinPerSecond: 2},
		{Key: ofShard, TotalMinPerSecond: -1}, {Key: ofShard, TotalMinPerSecond: 2e6}, {Key: ofShard, TotalMinPerSecond: math.NaN()},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, "retry: BudgetConfig.")
		require.PanicsWithError(t, err.Error(), func() { retry.NewBudget(cfg) })
	}
	for _, cfg := range []retry.BudgetConfig{
		{}, {Ratio: math.SmallestNonzeroFloat64}, {Ratio: 100}, {MinPerSecond: 1e6}, {Window: math.MaxInt64}, {Window: 10 * time.Millisecond},
	} {
		require.NoError(t, cfg.Validate())
		b := retry.NewBudget(cfg)
		b.Earn(t.Context())
		require.GreaterOrEqual(t, b.Stats().Limit, int64(0))
	}
}

type shard struct{}

func ofShard(ctx context.Context) string {
	key, _ := ctx.Value(shard{}).(string)
	return key
}

func inShard(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, shard{}, key)
}

// A shard that is down uses up its own retries, and no other's; its own are bounded as
// if it were alone.
//
// Contract: 30
func TestBudgetForEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Key: ofShard})
		require.Equal(t, retry.BudgetStats{Limit: 10}, budget.Stats(), "what a key will have")
		r := retry.New(retry.Config{Budget: budget, Jitter: func(time.Duration) time.Duration { return 0 }})
		run := func(key string, fails int) (attempts int) {
			_ = r.Run(inShard(t.Context(), key), func(context.Context) error {
				if attempts++; attempts <= fails {
					return errCall
				}
				return nil
			})
			return attempts
		}
		down := 0
		for range 1000 {
			down += run("down", 3)
		}
		require.Equal(t, 1210, down)
		for range 10 {
			require.Equal(t, 2, run("up", 1))
		}
		require.Equal(t, retry.BudgetStats{Limit: 210, Spent: 210}, budget.For(inShard(t.Context(), "down")).Stats())
		require.Equal(t, retry.BudgetStats{Limit: 12, Spent: 10}, budget.For(inShard(t.Context(), "up")).Stats())
		require.Equal(t, retry.BudgetStats{Limit: 222, Spent: 220}, budget.Stats())
		require.Equal(t, budget.Stats(), r.Stats().Budget)

		inner := retry.New(retry.Config{Budget: budget})
		_ = r.Run(inShard(t.Context(), "nested"), func(ctx context.Context) error {
			return inner.Run(ctx, func(context.Context) error { return nil })
		})
		require.EqualValues(t, 10, budget.For(inShard(t.Context(), "nested")).Stats().Limit, "it earned once: a fifth of a retry")
	})
}

// A process that lost its network retried a thousand hosts a thousand times as often as
// one: each had a floor of its own, and there was none in all. What a key's calls have
// earned is its own however many others are at their floors.
//
// Contract: 30
func TestFloorsOfAllKeysTogether(t *testing.T) {
	for total, want := range map[float64]int{0: 100, 3: 30, 1000: 5000} {
		synctest.Test(t, func(t *testing.T) {
			budget := retry.NewBudget(retry.BudgetConfig{Key: ofShard, TotalMinPerSecond: total})
			busy := inShard(t.Context(), "busy")
			for range 50 {
				budget.Earn(busy)
			}
			spend := func() (spent int) {
				for i := range 500 {
					for b := budget.For(inShard(t.Context(), strconv.Itoa(i))); b.Spend(); {
						spent++
					}
				}
				return spent
			}
			require.Equal(t, want, spend())
			require.EqualValues(t, want, budget.Stats().Spent)
			require.GreaterOrEqual(t, budget.Stats().Limit, int64(want))
			require.LessOrEqual(t, budget.Stats().Limit, int64(want)+10+10, "what busy earned, and its floor")
			for range 10 {
				require.True(t, budget.For(busy).Spend(), "its calls have earned it")
			}
			time.Sleep(5 * time.Second)
			require.Zero(t, spend())
			time.Sleep(6 * time.Second)
			require.Equal(t, want, spend(), "they fill up again")
		})
	}
}

// A retry that is not made, because its caller leaves in the pause, gives back what all keys
// share, too.
//
// Contract: 30
func TestFloorOfAllKeysComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Key: ofShard})
		r := retry.New(retry.Config{Budget: budget, Base: time.Second, Jitter: func(longest time.Duration) time.Duration { return longest }})
		for i := range 300 {
			ctx, cancel := context.WithCancel(inShard(t.Context(), strconv.Itoa(i)))
			require.Error(t, r.Run(ctx, func(context.Context) error { time.AfterFunc(time.Millisecond, cancel); return errCall }))
		}
		require.Zero(t, budget.Stats().Spent)
		for i := range 100 {
			require.True(t, budget.For(inShard(t.Context(), strconv.Itoa(i))).Spend())
		}
		require.False(t, budget.For(inShard(t.Context(), "last")).Spend())
	})
}

// Contract: 51
func TestLookupOfABudget(t *testing.T) {
	budget := retry.NewBudget(retry.BudgetConfig{Key: ofShard})
	_, own := budget.Lookup("a")
	require.False(t, own, "it makes none")
	a := budget.For(inShard(t.Context(), "a"))
	found, own := budget.Lookup("a")
	require.True(t, own)
	require.Same(t, a, found)
	_, own = retry.NewBudget(retry.BudgetConfig{}).Lookup("a")
	require.False(t, own, "without a Key there are no budgets of keys")
}

// However many keys there are, as many budgets are kept as was said, and one that is
// spent is kept until that is forgotten: no key gets more by being crowded out.
//
// Contract: 30, 42
func TestBudgetsOfManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Key: ofShard, Keys: stability.Keys{Max: 10}})
		spent := budget.For(inShard(t.Context(), "spent"))
		for spent.Spend() {
		}
		kept := map[*retry.Budget]bool{}
		for i := range 10_000 {
			kept[budget.For(inShard(t.Context(), strconv.Itoa(i%500)))] = true
		}
		require.Same(t, spent, budget.For(inShard(t.Context(), "spent")))
		require.NotContains(t, kept, spent)
		require.LessOrEqual(t, budget.Stats().Limit, int64((10+16)*10))
		time.Sleep(time.Minute)
		require.Zero(t, budget.Stats().Spent)

		require.True(t, budget.Spend(), "for no key in particular")
		require.Zero(t, budget.For(inShard(t.Context(), stability.OverflowKey)).Stats().Spent, "nor for that of this name")
		require.EqualValues(t, 1, budget.Stats().Spent)
		plain := retry.NewBudget(retry.BudgetConfig{})
		require.Same(t, plain, plain.For(t.Context()))
	})
}
