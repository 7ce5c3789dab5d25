package breaker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
)

// With FailureRatio 0.55 and MinCalls 100, 55 failures of 100 calls left it closed: the
// product of 0.55 and 100 is rounded to more than 55. The same with 0.07, 0.14, 0.28 and
// 0.56, and for slow calls.
//
// Contract: 8, 9
func TestEdgeOfEveryRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(context.Context) error { time.Sleep(2); return nil }
		const calls = 100
		for k := 1; k <= calls; k++ {
			ratio := float64(k) / calls
			for name, of := range map[string]struct {
				cfg breaker.Config
				bad func(context.Context) error
			}{
				"failures": {breaker.Config{FailureRatio: ratio, MinCalls: calls, Window: time.Hour}, failed},
				"slow":     {breaker.Config{SlowCall: 1, SlowRatio: ratio, MinCalls: calls, Window: time.Hour}, slow},
			} {
				for _, bad := range []int{k - 1, k} {
					b := breaker.New(of.cfg)
					for range calls - bad {
						_ = b.Run(t.Context(), ok)
					}
					for range bad {
						_ = b.Run(t.Context(), of.bad)
					}
					require.Equal(t, bad == k, b.State() == breaker.Open, "%v: %d of %d at %v", name, bad, calls, ratio)
				}
			}
		}
	})
}
