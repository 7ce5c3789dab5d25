package breaker_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
)

// gobreaker counts a probe's slot as taken until its result is told. A probe that
// never returns, or whose result nobody tells, keeps it: half-open for ever.
//
// Contract: 1
func TestRegressionLostProbeWedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout: time.Second, ReadyToTrip: func(gobreaker.Counts) bool { return true },
		})
		done, _ := peer.Allow()
		done(errCall)
		time.Sleep(2 * time.Second)
		_, err := peer.Allow() // the lost probe
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		_, err = peer.Allow()
		require.ErrorIs(t, err, gobreaker.ErrTooManyRequests, "if this fails gobreaker has mended it")

		ours := probing(t, breaker.Config{})
		_, err = ours.Enter(t.Context()) // the lost probe
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		require.ErrorIs(t, ours.Run(t.Context(), ok), breaker.ErrOpen, "the lease has lapsed: open again")
		time.Sleep(ours.Stats().RetryAfter)
		require.NoError(t, ours.Run(t.Context(), ok))
	})
}

// gobreaker's Execute recovers a panic but not a Goexit, such as that of a test's
// FailNow: the probe's slot is lost.
//
// Contract: 1
func TestRegressionGoexitWedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout: time.Second, ReadyToTrip: func(gobreaker.Counts) bool { return true },
		})
		_, _ = peer.Execute(func() (struct{}, error) { return struct{}{}, errCall })
		time.Sleep(2 * time.Second)
		exit(func(goexit func()) {
			_, _ = peer.Execute(func() (struct{}, error) { goexit(); return struct{}{}, nil })
		})
		time.Sleep(24 * time.Hour)
		_, err := peer.Execute(func() (struct{}, error) { return struct{}{}, nil })
		require.ErrorIs(t, err, gobreaker.ErrTooManyRequests, "if this fails gobreaker has mended it")

		ours := probing(t, breaker.Config{})
		exit(func(goexit func()) {
			_ = ours.Run(context.Background(), func(context.Context) error { goexit(); return nil })
		})
		time.Sleep(ours.Stats().RetryAfter)
		require.NoError(t, ours.Run(t.Context(), ok))
	})
}

// gobreaker calls OnStateChange with its lock held: a listener that asks for the
// state never returns, and nobody else's call does.
//
// Contract: 10
func TestRegressionListenerUnderTheLock(t *testing.T) {
	var peer *gobreaker.CircuitBreaker[struct{}]
	var returned atomic.Bool
	answered := make(chan bool)
	peer = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		ReadyToTrip: func(gobreaker.Counts) bool { return true },
		OnStateChange: func(string, gobreaker.State, gobreaker.State) {
			go func() {
				peer.State()
				answered <- returned.Load()
			}()
			for range 1000 {
				runtime.Gosched()
			}
			returned.Store(true)
		},
	})
	_, _ = peer.Execute(func() (struct{}, error) { return struct{}{}, errCall })
	require.True(t, <-answered, "no answer before the listener returned; if this fails gobreaker has mended it")

	synctest.Test(t, func(t *testing.T) {
		var ours *breaker.Breaker
		var read breaker.State
		ours = breaker.New(breaker.Config{Consecutive: 1, OnChange: func(breaker.Change) { read = ours.State() }})
		_ = ours.Run(t.Context(), failed)
		require.Equal(t, breaker.Open, read)
	})
}

// gobreaker drops the result of a call that was admitted before its window began
// anew: a dependency whose failures take longer than the interval never opens it.
//
// Contract: 7
func TestRegressionResultsOlderThanTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{Interval: 10 * time.Second})
		ours := breaker.New(breaker.Config{Window: 10 * time.Second})
		for range 100 {
			done, err := peer.Allow()
			require.NoError(t, err)
			pass, err := ours.Enter(t.Context())
			if err != nil {
				break
			}
			time.Sleep(15 * time.Second)
			done(errCall)
			_ = pass.Done(errCall)
		}
		require.Equal(t, gobreaker.StateClosed, peer.State(), "if this fails gobreaker has mended it")
		require.Equal(t, breaker.Closed, ours.State(), "one at a time they are too few for MinCalls")

		ours = breaker.New(breaker.Config{Window: 10 * time.Second})
		var dones []func(error)
		for range 100 {
			done, _ := peer.Allow()
			pass, _ := ours.Enter(t.Context())
			dones = append(dones, func(err error) { done(err); _ = pass.Done(err) })
		}
		time.Sleep(15 * time.Second)
		for _, done := range dones {
			done(errCall)
		}
		require.Equal(t, gobreaker.StateClosed, peer.State(), "if this fails gobreaker has mended it")
		require.Equal(t, breaker.Open, ours.State())
	})
}
