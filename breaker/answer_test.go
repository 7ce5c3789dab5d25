package breaker_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// answered enters, and has the call answered.
func answered(t *testing.T, b *breaker.Breaker) *stability.Pass {
	t.Helper()
	pass, err := b.Enter(t.Context())
	require.NoError(t, err)
	pass.Answered()
	return pass
}

// A host whose answers take longer than ProbeFor never recovered: each probe lasted as
// long as its body, and lapsed.
//
// Contract: 48
func TestProbeWithALongAnswerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{ProbeFor: time.Second})
		pass := answered(t, b)
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Stats().Probing)
		time.Sleep(time.Minute)
		require.NoError(t, b.Run(t.Context(), ok))
		require.NoError(t, pass.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, stability.Calls{Succeeded: 2, Failed: 1}, b.Stats().Calls)
	})
}

// Contract: 48
func TestProbeThatBreaksAfterItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{})
		pass := answered(t, b)
		require.Equal(t, errCall, pass.Done(errCall))
		require.Equal(t, breaker.Open, b.State(), "one failure in a row opens this one")
		require.Equal(t, stability.Calls{Failed: 2}, b.Stats().Calls)

		// Of two probes, one is answered and breaks before the other is back.
		b = probing(t, breaker.Config{Probes: 2})
		pass = answered(t, b)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Equal(t, errCall, pass.Done(errCall))
		require.Equal(t, breaker.Open, b.State())

		// It breaks when the outage that it probed is long forgotten.
		b = probing(t, breaker.Config{})
		pass = answered(t, b)
		b.Reset()
		require.Equal(t, errCall, pass.Done(errCall))
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Stats().Window.Failures)
	})
}

// Contract: 48
func TestSlowToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{SlowCall: time.Second})
		pass := answered(t, b)
		time.Sleep(time.Hour)
		require.NoError(t, pass.Done(nil))
		require.Zero(t, b.Stats().Window.Slow, "the time after the answer is the reader's")

		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		pass.Answered()
		require.EqualValues(t, 1, b.Stats().Window.Slow)

		b = probing(t, breaker.Config{SlowCall: time.Second})
		pass, err = b.Enter(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		pass.Answered()
		require.Equal(t, breaker.Open, b.State())
		require.NoError(t, pass.Done(nil))
	})
}

// A host answered 30 % of its requests with errors at once, the others with bodies of
// twelve seconds. Successes counted when they ended and failures when they began, and a
// breaker with a threshold of 50 % opened.
//
// Contract: 48
func TestQuickFailuresAmongLongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{})
		var open sync.WaitGroup
		for i := range 960 {
			pass, err := b.Enter(t.Context())
			require.NoError(t, err, "call %d", i)
			if i%10 < 3 {
				_ = pass.Done(errCall)
			} else {
				pass.Answered()
				open.Go(func() { time.Sleep(12 * time.Second); _ = pass.Done(nil) })
			}
			time.Sleep(time.Second / 16)
		}
		open.Wait()
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, stability.Calls{Succeeded: 672, Failed: 288}, b.Stats().Calls)
	})
}

// A call that breaks after its answer is a failure and no success, and does not end a row
// of failures.
//
// Contract: 8, 48
func TestBreaksAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Consecutive: 3, MinCalls: 1000})
		for i := range 3 {
			require.Equal(t, breaker.Closed, b.State(), "after %d", i)
			_ = answered(t, b).Done(errCall)
		}
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, stability.Calls{Failed: 3}, b.Stats().Calls)

		b = breaker.New(breaker.Config{})
		for range 19 {
			_ = answered(t, b).Done(errCall)
		}
		require.Equal(t, breaker.Counts{Failures: 19}, b.Stats().Window)
		_ = answered(t, b).Done(errCall)
		require.Equal(t, breaker.Open, b.State())

		ctx, cancel := context.WithCancel(t.Context())
		b = breaker.New(breaker.Config{})
		pass, err := b.Enter(ctx)
		require.NoError(t, err)
		pass.Answered()
		cancel()
		require.Equal(t, context.Canceled, pass.Done(ctx.Err()))
		require.Equal(t, breaker.Counts{Successes: 1}, b.Stats().Window)
		require.Equal(t, stability.Calls{Ignored: 1}, b.Stats().Calls)
	})
}

// Contract: 12, 48
func TestObserverIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Observe: true, Consecutive: 1})
		require.Equal(t, errCall, b.Run(t.Context(), failed))
		require.Equal(t, breaker.Open, b.State())
		require.NoError(t, answered(t, b).Done(nil))
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1}, b.Stats().Calls)
	})
}

// The listener that hears of the answer may do what it likes with the call and the breaker.
//
// Contract: 10, 48
func TestListenerDuringTheAnswer(t *testing.T) {
	for name, listener := range map[string]func(*breaker.Breaker, *stability.Pass){
		"ends the call":           func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(nil) },
		"ends the call, failed":   func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(errCall) },
		"answers again":           func(_ *breaker.Breaker, p *stability.Pass) { p.Answered() },
		"calls within the call":   func(b *breaker.Breaker, p *stability.Pass) { _ = b.Run(p.Context(), ok) },
		"resets":                  func(b *breaker.Breaker, _ *stability.Pass) { b.Reset() },
		"forces open, then lets":  func(b *breaker.Breaker, _ *stability.Pass) { b.ForceOpen(); b.Auto() },
		"panics":                  func(*breaker.Breaker, *stability.Pass) { panic("listener") },
		"exits":                   func(*breaker.Breaker, *stability.Pass) { runtime.Goexit() },
		"ends the call and exits": func(_ *breaker.Breaker, p *stability.Pass) { _ = p.Done(nil); runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b *breaker.Breaker
				var pass *stability.Pass
				b = probing(t, breaker.Config{MinCalls: 3, Consecutive: 3, OnChange: func(c breaker.Change) {
					if c.Cause == breaker.CauseProbesSucceeded {
						listener(b, pass)
					}
				}})
				var err error
				pass, err = b.Enter(t.Context())
				require.NoError(t, err)
				exit(func(func()) {
					defer func() { _ = recover() }()
					pass.Answered()
				})
				_ = pass.Done(nil)
				_ = pass.Done(errCall)
				require.Equal(t, breaker.Closed, b.State())
				require.Zero(t, b.Stats().Probing)
				calls := b.Stats().Calls
				require.Contains(t, []int64{4, 5}, calls.Started(), "three that opened it, the probe, and perhaps one within: %+v", calls)
				require.NoError(t, b.Run(t.Context(), ok))
			})
		})
	}
}
