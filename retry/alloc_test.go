package retry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

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
	value := func(context.Context) (int, error) { return 7, nil }
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = retry.Do(ctx, r, value) }), 1.0, "Do")
	inner := retry.New(retry.Config{Budget: budget})
	require.NoError(t, r.Run(ctx, func(ctx context.Context) error {
		require.Zero(t, testing.AllocsPerRun(1000, func() { _ = inner.Run(ctx, ok) }), "an inner Run")
		return nil
	}))
}
