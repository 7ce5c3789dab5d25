package bulkhead_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// Nothing allocates while few permits are in use, and no refusal that waited for nothing.
//
// Contract: 43
func TestAllocations(t *testing.T) {
	free := bulkhead.New(bulkhead.Config{Limit: 10, Queue: 10})
	judged := bulkhead.New(bulkhead.Config{Limit: 10, Classify: stability.Classify})
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	pass, err := full.Enter(t.Context())
	require.NoError(t, err)
	queueFull := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
	held, err := queueFull.Enter(t.Context())
	require.NoError(t, err)
	var waiter sync.WaitGroup
	waiter.Go(func() { _ = queueFull.Run(t.Context(), ok) })
	for queueFull.Stats().Queued == 0 {
		runtime.Gosched()
	}
	group := bulkhead.NewGroup(bulkhead.Config{Limit: 10}, stability.Keys{})
	group.Get("eu")
	fails := func(context.Context) error { return errCall }
	value := func(context.Context) (int, error) { return 7, nil }
	for name, run := range map[string]func(){
		"Run": func() { _ = free.Run(t.Context(), ok) },
		"Run of a closure": func() {
			calls := 0
			_ = free.Run(t.Context(), func(context.Context) error { calls++; return nil })
		},
		"Run of a failure":          func() { _ = free.Run(t.Context(), fails) },
		"Run with a Classifier":     func() { _ = judged.Run(t.Context(), fails) },
		"Do":                        func() { _, _ = bulkhead.Do(t.Context(), free, value) },
		"stability.Do":              func() { _, _ = stability.Do(t.Context(), free, value) },
		"a member of a group":       func() { _ = group.Get("eu").Run(t.Context(), ok) },
		"a refusal":                 func() { _ = full.Run(t.Context(), ok) },
		"a refusal of Do":           func() { _, _ = bulkhead.Do(t.Context(), full, value) },
		"a refusal of a full queue": func() { _ = queueFull.Run(t.Context(), ok) },
		"Stats":                     func() { free.Stats() },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, run), name)
	}
	pressed := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = pressed.Run(t.Context(), ok) }), 1.0, "the call's mark")
	require.NoError(t, pass.Done(nil))
	require.NoError(t, held.Done(nil))
	waiter.Wait()
}
