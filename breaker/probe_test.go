package breaker_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// opened returns a breaker that has just opened.
func opened(t *testing.T, cfg breaker.Config) *breaker.Breaker {
	t.Helper()
	if cfg.Consecutive == 0 {
		cfg.Consecutive = 1
	}
	b := breaker.New(cfg)
	for range cfg.Consecutive {
		require.Error(t, b.Run(t.Context(), failed))
	}
	require.Equal(t, breaker.Open, b.State())
	return b
}

// probing returns a breaker whose open time is over.
func probing(t *testing.T, cfg breaker.Config) *breaker.Breaker {
	t.Helper()
	b := opened(t, cfg)
	time.Sleep(b.Stats().RetryAfter)
	require.Equal(t, breaker.HalfOpen, b.State())
	require.Zero(t, b.Stats().RetryAfter)
	return b
}

// A probe's slot comes back however the probe ends, and at the latest when its
// lease does.
//
// Contract: 1, 2
func TestProbeAlwaysComesBack(t *testing.T) {
	for name, probe := range map[string]struct {
		run  func(*testing.T, *breaker.Breaker)
		then breaker.State
	}{
		"succeeds": {func(t *testing.T, b *breaker.Breaker) {
			require.NoError(t, b.Run(t.Context(), ok))
		}, breaker.Closed},
		"fails": {func(t *testing.T, b *breaker.Breaker) {
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}, breaker.Open},
		"panics": {func(t *testing.T, b *breaker.Breaker) {
			require.PanicsWithError(t, errCall.Error(), func() {
				_ = b.Run(t.Context(), func(context.Context) error { panic(errCall) })
			})
		}, breaker.Open},
		"exits": {func(_ *testing.T, b *breaker.Breaker) {
			exit(func(goexit func()) {
				_ = b.Run(context.Background(), func(context.Context) error { goexit(); return nil })
			})
		}, breaker.Open},
		"is canceled": {func(t *testing.T, b *breaker.Breaker) {
			ctx, cancel := context.WithCancel(t.Context())
			require.ErrorIs(t, b.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() }), context.Canceled)
		}, breaker.HalfOpen},
		"is refused further in": {func(t *testing.T, b *breaker.Breaker) {
			require.ErrorIs(t, b.Run(t.Context(), func(context.Context) error {
				return &stability.Rejection{Policy: "inner"}
			}), stability.ErrRejected)
		}, breaker.HalfOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := probing(t, breaker.Config{})
				probe.run(t, b)
				require.Equal(t, probe.then, b.State())
				require.Zero(t, b.Stats().Probing)
				time.Sleep(b.Stats().RetryAfter)
				require.NoError(t, b.Run(t.Context(), ok), "the next one gets a slot")
				require.Equal(t, breaker.Closed, b.State())
			})
		})
	}
}

// Contract: 1
func TestProbeThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := probing(t, breaker.Config{
			ProbeFor: 3 * time.Second,
			OnChange: func(c breaker.Change) { changes = append(changes, c) },
		})
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen, "the only slot is taken")
		time.Sleep(3*time.Second - 1)
		require.Equal(t, breaker.HalfOpen, b.State())
		time.Sleep(1)
		require.Equal(t, breaker.Open, b.State(), "reading tells")
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
		require.Equal(t, breaker.CauseProbeLapsed, changes[len(changes)-1].Cause)

		time.Sleep(b.Stats().RetryAfter)
		second, err := b.Enter(t.Context())
		require.NoError(t, err)
		before := b.Stats()
		require.NoError(t, pass.Done(nil), "the late result of a lapsed lease")
		after := b.Stats()
		after.Calls = before.Calls
		require.Equal(t, before, after, "changes nothing")
		require.NoError(t, second.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
	})
}

// Contract: 1
func TestPanickingClassifierGivesTheSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := false
		b := probing(t, breaker.Config{Classify: func(ctx context.Context, err error) stability.Outcome {
			if bad {
				panic("classifier")
			}
			return stability.Classify(ctx, err)
		}})
		bad = true
		require.PanicsWithValue(t, "classifier", func() { _ = b.Run(t.Context(), ok) })
		bad = false
		require.Zero(t, b.Stats().Probing)
		require.Equal(t, breaker.Open, b.State(), "what nobody could judge has failed")
		require.Equal(t, stability.Calls{Failed: 2}, b.Stats().Calls)
	})
}

// odd is an error of a broken kind: to ask what is in it panics.
type odd struct{ cause *error }

func (*odd) Error() string   { return "odd" }
func (e *odd) Unwrap() error { return *e.cause }

// Contract: 1, 2, 44
func TestErrorThatPanicsWhenItIsAskedIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := func(context.Context) error { return (*odd)(nil) }
		b := probing(t, breaker.Config{ProbeFor: time.Hour})
		require.Panics(t, func() { _ = b.Run(t.Context(), broken) })
		require.Zero(t, b.Stats().Probing)
		require.Equal(t, breaker.Open, b.State())
		b.Reset()
		require.Panics(t, func() { _ = b.Run(t.Context(), broken) })
		require.Equal(t, stability.Calls{Failed: 3}, b.Stats().Calls)
		require.Equal(t, breaker.Open, b.State())
	})
}

// The probe does not run, and is not under way, where the listener that was told
// that the breaker probes did not return.
//
// Contract: 1, 10
func TestListenerThatDoesNotReturnGivesTheSlotBack(t *testing.T) {
	for name, listener := range map[string]func(){
		"panics": func() { panic("listener") },
		"exits":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := probing(t, breaker.Config{ProbeFor: time.Hour, OnChange: func(c breaker.Change) {
					if c.To == breaker.HalfOpen {
						listener()
					}
				}})
				exit(func(func()) {
					defer func() { _ = recover() }()
					_ = b.Run(context.Background(), func(context.Context) error { t.Error("the call ran"); return nil })
				})
				require.Zero(t, b.Stats().Probing)
				require.Equal(t, breaker.HalfOpen, b.State())
				require.NoError(t, b.Run(t.Context(), ok), "the next one gets the slot")
				require.Equal(t, breaker.Closed, b.State())
			})
		})
	}
}

// A lease ends when its time is over, though nobody came to see it: what the probe
// returns then is late.
//
// Contract: 1
func TestLateProbeHasFailedThoughNobodyCameMeanwhile(t *testing.T) {
	for name, result := range map[string]error{"success": nil, "failure": errCall, "ignored": stability.ErrRejected} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var changes []breaker.Change
				b := probing(t, breaker.Config{Probes: 2, ProbeFor: time.Second, OnChange: func(c breaker.Change) { changes = append(changes, c) }})
				first, err := b.Enter(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Second - 1)
				second, err := b.Enter(t.Context())
				require.NoError(t, err)
				time.Sleep(1)
				require.Equal(t, breaker.Open, b.State())
				require.Equal(t, result, first.Done(result))
				require.Equal(t, breaker.Open, b.State())
				require.Equal(t, breaker.CauseProbeLapsed, changes[len(changes)-1].Cause)
				requireAlternating(t, changes)
				openFor := b.Stats().RetryAfter
				require.NoError(t, second.Done(nil))
				require.Equal(t, openFor, b.Stats().RetryAfter)
				require.Zero(t, b.Stats().Probing)
			})
		})
	}
}

// Contract: 4, 5
func TestThousandCallersAtTheInstantTheOpenTimeEnds(t *testing.T) {
	for _, probes := range []int{1, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := opened(t, breaker.Config{Probes: probes})
			openFor := b.Stats().RetryAfter
			var running, most, rejected atomic.Int64
			release := make(chan struct{})
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					time.Sleep(openFor)
					err := b.Run(t.Context(), func(context.Context) error {
						most.Store(max(most.Load(), running.Add(1)))
						<-release
						running.Add(-1)
						return nil
					})
					if errors.Is(err, breaker.ErrOpen) {
						rejected.Add(1)
					}
				})
			}
			time.Sleep(openFor + 1)
			synctest.Wait()
			require.EqualValues(t, probes, running.Load())
			require.EqualValues(t, 1000-probes, rejected.Load())
			close(release)
			wg.Wait()
			require.Equal(t, breaker.Closed, b.State())
			require.NoError(t, b.Run(t.Context(), ok))
		})
	}
}

// A call whose context has ended is not one that was refused.
//
// Contract: 6
func TestEndedContextIsNotARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, b.Run(ctx, ok))
		_, err := breaker.Do(ctx, b, func(context.Context) (int, error) { return 1, nil })
		require.Equal(t, context.Canceled, err)
		_, err = b.Enter(ctx)
		require.Equal(t, context.Canceled, err)
		require.Zero(t, b.Stats().Rejected)
	})
}

// A thousand refusals a second, or none: recovery comes at the same time.
//
// Contract: 5
func TestRefusalsDoNotDelayRecovery(t *testing.T) {
	for _, callers := range []int{0, 1, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := opened(t, breaker.Config{})
			openFor := b.Stats().RetryAfter
			for end := time.Now().Add(openFor); time.Now().Before(end); time.Sleep(openFor / 10) {
				for range callers {
					require.ErrorIs(t, b.Run(t.Context(), failed), breaker.ErrOpen)
				}
			}
			require.NoError(t, b.Run(t.Context(), ok))
			require.Equal(t, breaker.Closed, b.State())
			for range 1000 {
				require.NoError(t, b.Run(t.Context(), ok), "full traffic is back")
			}
		})
	}
}

// Contract: 9
func TestSlowProbeHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{SlowCall: time.Second})
		require.NoError(t, b.Run(t.Context(), func(context.Context) error {
			time.Sleep(time.Second + 1)
			return nil
		}))
		require.Equal(t, breaker.Open, b.State())
	})
}

// Contract: 11
func TestOpenTimeGrowsWithJitterAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: 10 * time.Second})
		jittered := false
		for _, nominal := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
			nominal *= time.Second
			d := b.Stats().RetryAfter
			require.LessOrEqual(t, d, nominal)
			require.GreaterOrEqual(t, d, nominal-nominal/10-1)
			jittered = jittered || d != nominal
			time.Sleep(d)
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
		require.True(t, jittered)
		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, b.Run(t.Context(), ok))
		require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		require.LessOrEqual(t, b.Stats().RetryAfter, time.Second, "after recovery it is the base again")
	})
}

// Contract: 11
func TestRampAdmitsAGrowingShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{RampFor: 10 * time.Second})
		require.NoError(t, b.Run(t.Context(), ok))
		last := 0
		for range 10 {
			admitted := 0
			for range 1000 {
				if b.Run(t.Context(), ok) == nil {
					admitted++
				}
				time.Sleep(time.Millisecond)
			}
			require.Greater(t, admitted, last)
			last = admitted
		}
		require.Greater(t, last, 900)
		for range 100 {
			require.NoError(t, b.Run(t.Context(), ok), "after the ramp all pass")
		}
	})
}

// Contract: 11
func TestFailingRampOpensForLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{OpenFor: time.Second, RampFor: 10 * time.Second, Consecutive: 3})
		require.NoError(t, b.Run(t.Context(), ok))
		time.Sleep(5 * time.Second)
		for b.State() == breaker.Closed {
			_ = b.Run(t.Context(), failed)
		}
		require.Greater(t, b.Stats().RetryAfter, time.Second)
	})
}

// exit runs f on a goroutine of its own, which goexit ends.
func exit(f func(goexit func())) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(runtime.Goexit)
	}()
	<-done
}

// An adapter that asks before it queues hears of an open breaker, and takes no probe's
// slot by asking.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *breaker.Breaker
		require.NoError(t, none.Refused(t.Context()))
		b := breaker.New(breaker.Config{})
		require.NoError(t, b.Refused(t.Context()))
		b = opened(t, breaker.Config{})
		rejected := b.Stats().Rejected
		var rejection *stability.Rejection
		require.ErrorAs(t, b.Refused(t.Context()), &rejection)
		require.ErrorIs(t, rejection, breaker.ErrOpen)
		require.Positive(t, rejection.RetryAfter)
		require.Equal(t, rejected+1, b.Stats().Rejected)
		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, b.Refused(t.Context()))
		require.Zero(t, b.Stats().Probing)
		b.ForceOpen()
		require.ErrorIs(t, b.Refused(t.Context()), breaker.ErrOpen)
	})
}
