package ratelimit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

// Nothing allocates but a wait, and one Rejection that many refusals share.
//
// Contract: 43
func TestAllocations(t *testing.T) {
	busy := ratelimit.New(ratelimit.Config{Rate: 1e6, Burst: 1e6})
	slow := ratelimit.New(ratelimit.Config{Rate: 1e9, Burst: 20}) // no leases
	empty := ratelimit.New(ratelimit.Config{Rate: 1e-6, Burst: 1})
	require.True(t, empty.Allow())
	group := ratelimit.NewGroup(ratelimit.Config{Rate: 1e6, Burst: 1e6}, stability.Keys{})
	group.Get("eu")
	chain := stability.Chain(busy, slow)
	value := func(context.Context) (int, error) { return 7, nil }
	for name, run := range map[string]func(){
		"Run": func() { _ = busy.Run(t.Context(), ok) },
		"Run of a closure": func() {
			calls := 0
			_ = busy.Run(t.Context(), func(context.Context) error { calls++; return nil })
		},
		"Run without a lease": func() { _ = slow.Run(t.Context(), ok) },
		"Do":                  func() { _, _ = ratelimit.Do(t.Context(), busy, value) },
		"stability.Do":        func() { _, _ = stability.Do(t.Context(), busy, value) },
		"a chain":             func() { _ = chain.Run(t.Context(), ok) },
		"Allow":               func() { busy.Allow() },
		"AllowN":              func() { busy.AllowN(2) },
		"Wait for nothing":    func() { _ = busy.Wait(t.Context()) },
		"a member of a group": func() { _ = group.Get("eu").Run(t.Context(), ok) },
		"a refusal":           func() { _ = empty.Run(t.Context(), ok) },
		"a refusal of Allow":  func() { empty.Allow() },
		"a refusal of AllowN": func() { empty.AllowN(2) },
		"Stats":               func() { busy.Stats() },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, run), name)
	}
}
