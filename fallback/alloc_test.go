package fallback_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/fallback"
)

// Contract: 43
func TestTheRealValueCostsNoAllocation(t *testing.T) {
	f := fallback.New(fallback.Config{})
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _, _ = fallback.Do(ctx, f, answers, second) }))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _, _ = fallback.Do(ctx, f, fails, second) }), 1.0, "the Degraded")
}
