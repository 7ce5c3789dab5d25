package breaker

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

func fails(context.Context) error { return errors.New("failed") }

func retryAfter(t *testing.T, b *Breaker) time.Duration {
	t.Helper()
	err := b.Run(t.Context(), fails)
	require.ErrorIs(t, err, ErrOpen)
	return stability.RetryAfter(err)
}

// What is kept ready for those who are refused is renewed, and is never too long by
// more than a sixteenth of the open time.
//
// Contract: 5
func TestRetryAfterIsRenewed(t *testing.T) {
	for _, openFor := range []time.Duration{time.Microsecond, time.Millisecond, 20 * time.Millisecond, 5 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := New(Config{Consecutive: 1, OpenFor: openFor})
			_ = b.Run(t.Context(), fails)
			due := b.stay.Load().due
			slack := max(openFor/renewals, time.Millisecond)
			for time.Now().Before(due) {
				left := time.Until(due)
				require.GreaterOrEqual(t, retryAfter(t, b), left)
				require.LessOrEqual(t, retryAfter(t, b), left+slack)
				time.Sleep(openFor/100 + 1)
			}
			time.Sleep(time.Until(due))
			require.NoError(t, b.Run(t.Context(), func(context.Context) error { return nil }))
		})
	}
}

// Contract: 44
func TestEndedStayIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Consecutive: 1, OpenFor: time.Minute})
		_ = b.Run(t.Context(), fails)
		ended := b.stay.Load()
		require.NotNil(t, ended.ready.Load())
		b.Reset()
		for range 100 {
			require.Nil(t, ended.ready.Load())
			time.Sleep(time.Second)
		}
	})
}

// Regression: the timer that renews a refusal is of the bubble in which the breaker
// opened. Outside of it, it never runs, and the breaker stayed open.
func TestOpenBreakerOutlivesTheBubbleOfItsTimer(t *testing.T) {
	var b *Breaker
	synctest.Test(t, func(t *testing.T) {
		b = New(Config{Consecutive: 1})
		_ = b.Run(t.Context(), fails)
	})
	// The bubble's clock began in the year 2000.
	refused := 0
	for b.Run(t.Context(), func(context.Context) error { return nil }) != nil {
		if refused++; refused > 1000 {
			t.Fatal("refused for ever")
		}
	}
	require.Equal(t, Closed, b.State())
}

// Regression: with more left of a ramp than it is long, as to the clock of the next
// bubble, the share was negative and ran up a debt.
func TestRampOutlivesItsClock(t *testing.T) {
	b := New(Config{Consecutive: 1, OpenFor: 1, RampFor: time.Hour})
	b.mu.Lock()
	b.close(time.Now()) // to ramp up from here on
	b.mu.Unlock()
	synctest.Test(t, func(t *testing.T) {
		admitted := 0
		for range 1000 {
			if b.Run(t.Context(), func(context.Context) error { return nil }) == nil {
				admitted++
			}
		}
		require.InDelta(t, 100, admitted, 1)
	})
}

// The rule against exact arithmetic: at the edge of every ratio of two and of three
// digits, just below and just above it, for some calls and for very many.
//
// Contract: 8, 9
func TestRatioIsReachedWhereTheNumberIs(t *testing.T) {
	for _, digits := range []int64{100, 1000} {
		for k := int64(1); k <= digits; k++ {
			ratio, exact := float64(k)/float64(digits), big.NewRat(k, digits)
			for _, calls := range []int64{1, 3, 20, 99, 100, 101, 1000, 12345, 1_000_000, 999_999_999} {
				edge := k * calls / digits
				for n := max(edge-1, 0); n <= min(edge+2, calls); n++ {
					require.Equal(t, big.NewRat(n, calls).Cmp(exact) >= 0, reached(ratio, n, calls), "%d of %d at %v", n, calls, ratio)
				}
			}
		}
	}
}
