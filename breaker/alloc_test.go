package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// Nothing allocates but what changes the state.
//
// Contract: 43
func TestAllocations(t *testing.T) {
	closed := breaker.New(breaker.Config{MinCalls: 1 << 30})
	watched := breaker.New(breaker.Config{SlowCall: time.Hour})
	judged := breaker.New(breaker.Config{MinCalls: 1 << 30, Classify: stability.Classify})
	open := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Hour})
	require.Error(t, open.Run(t.Context(), failed))
	group := breaker.NewGroup(breaker.Config{}, stability.Keys{})
	group.Get("eu")
	value := func(context.Context) (int, error) { return 7, nil }
	for name, run := range map[string]func(){
		"Run": func() { _ = closed.Run(t.Context(), ok) },
		"Run of a closure": func() {
			calls := 0
			_ = closed.Run(t.Context(), func(context.Context) error { calls++; return nil })
		},
		"Run of a failure":      func() { _ = closed.Run(t.Context(), failed) },
		"Run with SlowCall":     func() { _ = watched.Run(t.Context(), ok) },
		"Run with a Classifier": func() { _ = judged.Run(t.Context(), failed) },
		"Do":                    func() { _, _ = breaker.Do(t.Context(), closed, value) },
		"Do with SlowCall":      func() { _, _ = breaker.Do(t.Context(), watched, value) },
		"stability.Do":          func() { _, _ = stability.Do(t.Context(), closed, value) },
		"a member of a group":   func() { _ = group.Get("eu").Run(t.Context(), ok) },
		"a refusal":             func() { _ = open.Run(t.Context(), ok) },
		"a refusal of Do":       func() { _, _ = breaker.Do(t.Context(), open, value) },
		"State":                 func() { closed.State() },
		"Stats":                 func() { closed.Stats() },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, run), name)
	}
}
