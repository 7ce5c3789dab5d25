package breaker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
)

// Contract: 55
func TestClosedAcrossBubbles(t *testing.T) {
	policytest.AcrossBubbles(t, func(t testing.TB) *breaker.Breaker {
		b := breaker.New(breaker.Config{Window: 20 * time.Millisecond, MinCalls: 3})
		_ = b.Run(t.Context(), failed)
		require.NoError(t, b.Run(t.Context(), ok))
		return b
	}, func(t testing.TB, b *breaker.Breaker) {
		for range 3 {
			require.NoError(t, b.Run(t.Context(), ok))
			time.Sleep(10 * time.Millisecond)
		}
		for b.Stats().Window != (breaker.Counts{}) {
			time.Sleep(time.Millisecond)
		}
		for range 3 {
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
		require.Equal(t, breaker.Open, b.State())
	})
}
