package retry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/retry"
)

// The one allocation is the context that keeps inner retries from multiplying. It
// must exist during the first attempt, and may be kept for longer by what the call
// hands it to, so it can be neither left out nor used again. Under an outer Retry
// with the same budget it is there already.
//
// Contract: 43
func TestAllocations(t *testing.T) {
	budget := retry.NewBudget(retry.BudgetConfig{})
	r := retry.New(retry.Config{Budget: budget})
	ctx := t.Context()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = r.Run(ctx, ok) }), 1.0, "Run")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		calls := 0
		_ = r.Run(ctx, func(context.Context) error { calls++; return nil })
	}), 1.0, "Run of a closure")
	value := func(context.Context) (int, error) { return 7, nil }
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = retry.Do(ctx, r, value) }), 1.0, "Do")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = stability.Do(ctx, r, value) }), 2.0, "stability.Do")
	inside := stability.Chain(r, breaker.New(breaker.Config{}))
	between := stability.Chain(breaker.New(breaker.Config{}), inside)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = inside.Run(ctx, ok) }), 1.0, "Run around a gate")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = between.Run(ctx, ok) }), 1.0, "Run between gates")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = stability.Do(ctx, inside, value) }), 2.0, "stability.Do around a gate")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = stability.Do(ctx, between, value) }), 3.0, "stability.Do between gates")
	inner := retry.New(retry.Config{Budget: budget})
	require.NoError(t, r.Run(ctx, func(ctx context.Context) error {
		require.Zero(t, testing.AllocsPerRun(1000, func() { _ = inner.Run(ctx, ok) }), "an inner Run")
		return nil
	}))
}
