package timeout_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

func goroutines() int { return runtime.NumGoroutine() }

// One allocation, the context, where nobody asks it for Done; none where the
// caller's own deadline is the earlier.
//
// Contract: 43
func TestAllocations(t *testing.T) {
	to := timeout.New(timeout.Config{After: time.Hour})
	tight, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	value := func(context.Context) (int, error) { return 7, nil }
	looks := func(ctx context.Context) error { _, _ = ctx.Deadline(); return ctx.Err() }
	chain := stability.Chain(to, timeout.New(timeout.Config{After: 2 * time.Hour}))
	for name, tt := range map[string]struct {
		want float64
		run  func()
	}{
		"Run": {1, func() { _ = to.Run(t.Context(), ok) }},
		"Run of a closure": {1, func() {
			calls := 0
			_ = to.Run(t.Context(), func(context.Context) error { calls++; return nil })
		}},
		"Run of a call that fails": {1, func() { _ = to.Run(t.Context(), fails) }},
		"Run of one that looks":    {1, func() { _ = to.Run(t.Context(), looks) }},
		"Do":                       {1, func() { _, _ = timeout.Do(t.Context(), to, value) }},
		"stability.Do":             {1, func() { _, _ = stability.Do(t.Context(), to, value) }},
		"a chain of two":           {1, func() { _ = chain.Run(t.Context(), ok) }},
		"an earlier deadline":      {0, func() { _ = to.Run(tight, ok) }},
	} {
		require.Equal(t, tt.want, testing.AllocsPerRun(1000, tt.run), name) //nolint:testifylint // Whole numbers.
	}
}
