package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
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
		for b.State() == breaker.Closed {
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
	})
}

// Contract: 55
func TestEveryStateAcrossBubbles(t *testing.T) {
	recovers := func(t testing.TB, b *breaker.Breaker) {
		for tries := 0; b.Run(t.Context(), ok) != nil || b.State() != breaker.Closed; tries++ {
			require.Less(t, tries, 500, "it may be open for as long as it was to be")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		for range 20 {
			require.NoError(t, b.Run(t.Context(), ok), "the ramp is over")
		}
		for !errors.Is(b.Run(t.Context(), failed), breaker.ErrOpen) {
			continue // until it has opened anew
		}
	}
	for name, bring := range map[string]func(testing.TB, *breaker.Breaker){
		"open": func(testing.TB, *breaker.Breaker) {},
		"open, and called": func(t testing.TB, b *breaker.Breaker) {
			for range 10 {
				_ = b.Run(t.Context(), ok)
			}
		},
		"half-open": func(t testing.TB, b *breaker.Breaker) { await(b, breaker.HalfOpen) },
		"half-open, with a probe that is lost": func(t testing.TB, b *breaker.Breaker) {
			await(b, breaker.HalfOpen)
			_, _ = b.Enter(t.Context())
		},
		"open after a lost probe": func(t testing.TB, b *breaker.Breaker) {
			await(b, breaker.HalfOpen)
			_, _ = b.Enter(t.Context())
			time.Sleep(20 * time.Millisecond)
		},
		"closed": func(t testing.TB, b *breaker.Breaker) { b.Reset() },
		"closed, and ramping up": func(t testing.TB, b *breaker.Breaker) {
			await(b, breaker.HalfOpen)
			_ = b.Run(t.Context(), ok)
		},
		"forced open, back in Auto": func(t testing.TB, b *breaker.Breaker) {
			b.ForceOpen()
			b.Auto()
		},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.AcrossBubbles(t, func(t testing.TB) *breaker.Breaker {
				b := breaker.New(breaker.Config{
					Consecutive: 1, OpenFor: 20 * time.Millisecond, ProbeFor: 20 * time.Millisecond, RampFor: 20 * time.Millisecond,
				})
				_ = b.Run(t.Context(), failed)
				bring(t, b)
				return b
			}, recovers)
		})
	}
}

// await waits until b reads a state that it stays in.
func await(b *breaker.Breaker, state breaker.State) {
	for b.State() != state {
		time.Sleep(time.Millisecond)
	}
}

// A call that is let in under one clock ends under another.
//
// Contract: 55
func TestPassesAcrossBubbles(t *testing.T) {
	type held struct {
		b      *breaker.Breaker
		passes []*stability.Pass
	}
	for name, states := range map[string][]bool{"closed": {false}, "a probe": {true}, "both": {false, true}} {
		t.Run(name, func(t *testing.T) {
			policytest.AcrossBubbles(t, func(t testing.TB) *held {
				h := &held{b: breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Millisecond, SlowCall: time.Hour})}
				for _, probe := range states {
					if probe {
						_ = h.b.Run(t.Context(), failed)
						await(h.b, breaker.HalfOpen)
					}
					pass, err := h.b.Enter(context.Background())
					require.NoError(t, err)
					h.passes = append(h.passes, pass)
				}
				return h
			}, func(t testing.TB, h *held) {
				for _, pass := range h.passes {
					pass.Answered()
					require.NoError(t, pass.Done(nil))
				}
				for h.b.State() != breaker.Closed { // the probe was lost meanwhile
					_ = h.b.Run(t.Context(), ok)
					time.Sleep(time.Millisecond)
				}
				require.Zero(t, h.b.Stats().Probing)
			})
		})
	}
}
