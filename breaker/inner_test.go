package breaker_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// A breaker in a go-redis hook never closed again after one restart of Redis: the new
// connection's handshake runs through the same hook, found the only probe's slot taken by
// the command that it served, and failed it. So did a chain that has a breaker twice, a
// transaction that queries through its own guarded pool, and a token refresh within a
// guarded call.
//
// Contract: 49
func TestProbeMayUseItsOwnBreaker(t *testing.T) {
	type guard = func(ctx context.Context, fn func(context.Context) error) error
	for name, call := range map[string]func(*breaker.Breaker, guard, context.Context) error{
		"a chain that has it twice": func(b *breaker.Breaker, _ guard, ctx context.Context) error {
			return stability.Chain(b, b).Run(ctx, ok)
		},
		"a chain that has it thrice, with other gates": func(b *breaker.Breaker, _ guard, ctx context.Context) error {
			other := breaker.New(breaker.Config{})
			return stability.Chain(b, other, stability.Chain(b, other), b).Run(ctx, ok)
		},
		"a handshake through the hook": func(_ *breaker.Breaker, hook guard, ctx context.Context) error {
			connected := false
			command := func(ctx context.Context) error {
				if !connected {
					connected = true
					for range 3 { // HELLO, AUTH, SELECT
						if err := hook(ctx, ok); err != nil {
							return err
						}
					}
				}
				return nil
			}
			return hook(ctx, command)
		},
		"a transaction that queries": func(b *breaker.Breaker, query guard, ctx context.Context) error {
			tx, err := b.Enter(ctx)
			if err != nil {
				return err
			}
			return tx.Done(query(tx.Context(), ok))
		},
		"a token refresh": func(b *breaker.Breaker, _ guard, ctx context.Context) error {
			refresh := func(ctx context.Context) (string, error) {
				return breaker.Do(ctx, b, func(context.Context) (string, error) { return "token", nil })
			}
			_, err := stability.Do(ctx, b, func(ctx context.Context) (string, error) { return refresh(ctx) })
			return err
		},
		"Enter within Enter within Enter": func(b *breaker.Breaker, _ guard, ctx context.Context) error {
			var passes []*stability.Pass
			for range 3 {
				p, err := b.Enter(ctx)
				if err != nil {
					return err
				}
				passes, ctx = append(passes, p), p.Context()
			}
			for i := range passes {
				_ = passes[len(passes)-1-i].Done(nil)
			}
			return nil
		},
		"on another goroutine, with a context of its own": func(_ *breaker.Breaker, hook guard, ctx context.Context) error {
			return hook(ctx, func(ctx context.Context) (err error) {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() { err = hook(ctx, ok) })
				wg.Wait()
				return err
			})
		},
	} {
		for mode, cfg := range map[string]breaker.Config{
			"plain": {}, "watched": {SlowCall: time.Second, Classify: stability.Classify}, "two probes": {Probes: 2},
		} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := probing(t, cfg)
					hook := func(ctx context.Context, fn func(context.Context) error) error { return b.Run(ctx, fn) }
					for range max(cfg.Probes, 1) {
						require.Equal(t, breaker.HalfOpen, b.State())
						require.NoError(t, call(b, hook, t.Context()))
						require.Zero(t, b.Stats().Probing)
					}
					require.Equal(t, breaker.Closed, b.State())
					require.Zero(t, b.Stats().Rejected)
				})
			})
		}
	}
}

// What a probe's inner calls return is no news to the state machine, and is counted.
//
// Contract: 43, 49
func TestInnerCallsTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{Probes: 2})
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, b.Run(pass.Context(), failed), errCall)
		require.NoError(t, b.Run(pass.Context(), ok))
		inner, err := b.Enter(pass.Context())
		require.NoError(t, err)
		require.Equal(t, 1, b.Stats().Probing)
		inner.Answered()
		require.Panics(t, func() { _ = b.Run(inner.Context(), func(context.Context) error { panic("inner") }) })
		exit(func(goexit func()) {
			_ = b.Run(inner.Context(), func(context.Context) error { goexit(); return nil })
		})
		require.ErrorIs(t, inner.Done(errCall), errCall)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Equal(t, 1, b.Stats().Probing)
		require.NoError(t, b.Run(t.Context(), ok), "the second slot is free")
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
		require.NoError(t, pass.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, stability.Calls{Succeeded: 3, Failed: 5, Rejected: 1}, b.Stats().Calls)
	})
}

// A context that outlives its probe carries nothing of it any more, however the probe
// ended.
//
// Contract: 49
func TestContextOutlivesItsProbe(t *testing.T) {
	for name, end := range map[string]func(*breaker.Breaker, *stability.Pass){
		"it was canceled":      func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(stability.ErrRejected) },
		"it succeeded":         func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(nil) },
		"it was answered":      func(_ *breaker.Breaker, p *stability.Pass) { p.Answered(); _ = p.Done(nil) },
		"it failed":            func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(errCall) },
		"it lapsed":            func(*breaker.Breaker, *stability.Pass) { time.Sleep(30 * time.Second) },
		"somebody forced open": func(b *breaker.Breaker, _ *stability.Pass) { b.ForceOpen() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := probing(t, breaker.Config{Probes: 3})
				first, err := b.Enter(t.Context())
				require.NoError(t, err)
				end(b, first)
				for b.State() == breaker.HalfOpen {
					if _, err := b.Enter(t.Context()); err != nil { // until no slot is left
						break
					}
				}
				rejected := b.Stats().Rejected
				left := make(chan error)
				go func() { left <- b.Run(first.Context(), ok) }()
				require.ErrorIs(t, <-left, breaker.ErrOpen)
				require.Equal(t, rejected+1, b.Stats().Rejected)
			})
		})
	}
}

// A breaker that was told to refuse refuses what a probe calls, too.
//
// Contract: 12, 49
func TestForcedOpenRefusesInnerCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{})
		require.NoError(t, b.Run(t.Context(), func(ctx context.Context) error {
			b.ForceOpen()
			require.ErrorIs(t, b.Run(ctx, ok), breaker.ErrForcedOpen)
			b.Auto()
			return b.Run(ctx, ok)
		}))
		require.Equal(t, breaker.Closed, b.State())
	})
}

// Another breaker's probe is none of this one's.
//
// Contract: 49
func TestProbeOfAnotherBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := probing(t, breaker.Config{}), probing(t, breaker.Config{})
		taken, err := b.Enter(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, stability.Chain(a, b).Run(t.Context(), ok), breaker.ErrOpen)
		require.Equal(t, breaker.HalfOpen, a.State())
		require.NoError(t, taken.Done(nil))
	})
}

// During a ramp a tenth of the calls passed, and of their inner calls a tenth again: of
// calls that make three others, hardly one succeeded.
//
// Contract: 11, 49
func TestInnerCallsOfAnAdmittedCallPassTheRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{RampFor: time.Hour})
		require.NoError(t, b.Run(t.Context(), ok))
		admitted := 0
		var last context.Context
		for range 100 {
			err := b.Run(t.Context(), func(ctx context.Context) error {
				admitted++
				last = ctx
				for range 3 {
					require.NoError(t, b.Run(ctx, func(ctx context.Context) error { return b.Run(ctx, ok) }))
				}
				return nil
			})
			require.Equal(t, err != nil, err != nil && stability.Rejected(err))
		}
		require.InDelta(t, 10, admitted, 1)
		require.EqualValues(t, 7*admitted, b.Stats().Window.Successes, "they count as what they are: calls")
		passes := func(ctx context.Context) (n int) {
			for range 100 {
				if b.Run(ctx, ok) == nil {
					n++
				}
			}
			return n
		}
		require.InDelta(t, 10, passes(last), 1, "that call has ended")

		pass, err := b.Enter(t.Context())
		for err != nil {
			pass, err = b.Enter(t.Context())
		}
		pass.Answered()
		require.Equal(t, 100, passes(pass.Context()), "a call that was answered is still under way")
		require.NoError(t, pass.Done(nil))
		require.InDelta(t, 10, passes(pass.Context()), 1)
	})
}

// Observe lets everything through: what a probe calls is no call that would have been
// refused.
//
// Contract: 12, 49
func TestInnerCallsAreNotObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{Observe: true})
		require.NoError(t, stability.Chain(b, b).Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Stats().Observed)
	})
}

// A member of a group that a probe uses in its course is at rest afterwards.
//
// Contract: 42, 49
func TestInnerCallsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaker.NewGroup(breaker.Config{Consecutive: 1}, stability.Keys{Max: 1})
		b := g.Get("a")
		require.Error(t, b.Run(t.Context(), failed))
		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, stability.Chain(b, b).Run(t.Context(), ok))
		time.Sleep(time.Minute)
		require.NotSame(t, g.Get(stability.OverflowKey), g.Get("b"))
	})
}
