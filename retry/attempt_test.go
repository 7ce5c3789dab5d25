package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// tiers returns the top of n tiers, each with a Retry of its own on defaults. between
// is what a tier does to the context it hands down and to the error it hands up.
func tiers(n int, leaf func(context.Context) error, between func(context.Context, func(context.Context) error) error) func(context.Context) error {
	for range n {
		r, below := retry.New(retry.Config{}), leaf
		leaf = func(ctx context.Context) error {
			return r.Run(ctx, func(ctx context.Context) error { return between(ctx, below) })
		}
	}
	return leaf
}

// Without marks these are 3⁵ = 243 calls (Brooker, Timeouts, Retries, and Backoff
// with Jitter, Amazon Builders' Library, 2019). What lies between the tiers may
// lose the kind of the error, or the context's values, and the leaf is still called
// three times.
//
// Contract: 31
func TestTiersDoNotMultiply(t *testing.T) {
	type below = func(context.Context) error
	for name, between := range map[string]func(context.Context, below) error{
		"as they are":    func(ctx context.Context, f below) error { return f(ctx) },
		"lost errors":    func(ctx context.Context, f below) error { return errors.New(f(ctx).Error()) },
		"lost contexts":  func(_ context.Context, f below) error { return f(context.Background()) },
		"derived":        func(ctx context.Context, f below) error { return derived(ctx, f) },
		"over a network": func(ctx context.Context, f below) error { return received(retry.Attempt(ctx), f) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leaf, calls := failing(always, errCall)
				require.Error(t, tiers(5, leaf, between)(t.Context()))
				require.Equal(t, 3, *calls)
			})
		})
	}
}

func derived(ctx context.Context, f func(context.Context) error) error {
	type key struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, key{}, "v"), time.Minute)
	defer cancel()
	return f(ctx)
}

// received is a server whose request said which attempt it is.
func received(attempt int, f func(context.Context) error) error {
	if f(retry.WithAttempt(context.Background(), attempt)) != nil {
		return errors.New("503 Service Unavailable")
	}
	return nil
}

// A chain puts the inner Retry under the outer one as a call does.
//
// Contract: 31
func TestChainOfRetriesDoesNotMultiply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := func() stability.Policy { return retry.New(retry.Config{}) }
		leaf, calls := failing(always, errCall)
		err := stability.Chain(r(), r(), r()).Run(t.Context(), leaf)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, 3, *calls)
	})
}

// A budget that does not count calls does not keep them from being marked.
//
// Contract: 31
func TestUnlimitedRetriesDoNotMultiply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := retry.Unlimited()
		outer, inner := retry.New(retry.Config{Budget: b}), retry.New(retry.Config{Budget: b})
		leaf, calls := failing(always, errCall)
		require.Error(t, outer.Run(t.Context(), func(ctx context.Context) error {
			return errors.New(inner.Run(ctx, leaf).Error())
		}))
		require.Equal(t, 3, *calls)
		require.Zero(t, retry.Attempt(b.Earn(t.Context())))
	})
}

func TestAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Zero(t, retry.Attempt(t.Context()))
		var seen []int
		r := retry.New(retry.Config{})
		_ = r.Run(t.Context(), func(ctx context.Context) error {
			_ = retry.New(retry.Config{}).Run(ctx, func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				seen = append(seen, retry.Attempt(ctx))
				return nil
			})
			return errCall
		})
		require.Equal(t, []int{1, 2, 3}, seen, "as the outermost counts")
		require.Equal(t, 7, retry.Attempt(retry.WithAttempt(t.Context(), 7)))
		require.Zero(t, retry.Attempt(retry.WithAttempt(t.Context(), -7)))
	})
}

// The context of an attempt stays what it was after the attempt.
func TestContextOfAnAttemptMayBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []context.Context
		r := retry.New(retry.Config{})
		for range 3 {
			_ = r.Run(t.Context(), func(ctx context.Context) error { kept = append(kept, ctx); return errCall })
		}
		for i, ctx := range kept {
			require.Equal(t, i%3+1, retry.Attempt(ctx))
			require.NoError(t, ctx.Err())
		}
	})
}

// Work that is retried as a whole, whose single calls retry for themselves.
func TestWithAttemptZeroRetriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job, step := retry.New(retry.Config{}), retry.New(retry.Config{})
		fn, calls := failing(2, errCall)
		require.NoError(t, job.Run(t.Context(), func(ctx context.Context) error {
			return step.Run(retry.WithAttempt(ctx, 0), fn)
		}))
		require.Equal(t, 3, *calls)
		require.EqualValues(t, 1, job.Stats().Attempts)
		require.EqualValues(t, 3, step.Stats().Attempts)
	})
}

// The calls of a long piece of work earn, each for itself, also where the budget is
// the one that the work itself has earned in.
//
// Contract: 30
func TestCallsUnderWithAttemptZeroEarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Ratio: 0.2, MinPerSecond: 1e-9})
		work := retry.New(retry.Config{Budget: budget})
		step := retry.New(retry.Config{Budget: budget})
		require.NoError(t, work.Run(t.Context(), func(ctx context.Context) error {
			ctx = retry.WithAttempt(ctx, 0)
			for range 99 {
				require.NoError(t, step.Run(ctx, ok))
			}
			return nil
		}))
		require.EqualValues(t, 20, budget.Stats().Limit)
	})
}

// An inner Retry hands the error up as it is, so that the outer one can judge it.
func TestInnerRetryReturnsTheErrorItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := retry.New(retry.Config{})
		fn, calls := failing(always, errCall)
		require.Equal(t, errCall, inner.Run(retry.WithAttempt(t.Context(), 1), fn))
		require.Equal(t, 1, *calls)
		require.Equal(t, stability.Calls{Failed: 1}, inner.Stats().Calls)
	})
}
