package breaker_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// Contract: 12
func TestForceOpenAdmitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New(breaker.Config{OnChange: func(c breaker.Change) { changes = append(changes, c) }})
		b.ForceOpen()
		b.ForceOpen()
		for range 1000 {
			require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
			time.Sleep(time.Second)
		}
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, stability.ModeOpen, b.Stats().Mode)
		require.Zero(t, b.Stats().RetryAfter)
		b.Auto()
		require.Equal(t, breaker.Closed, b.State())
		require.NoError(t, b.Run(t.Context(), ok))
		requireAlternating(t, changes)
		require.Len(t, changes, 2)
	})
}

// Contract: 12
func TestForceClosedRefusesNothingAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{Consecutive: 5})
		b.ForceClosed()
		require.Equal(t, breaker.Closed, b.State())
		for range 100 {
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
		require.Equal(t, breaker.Counts{Failures: 100}, b.Stats().Window)
		require.Equal(t, breaker.Closed, b.State())
		b.Auto()
		require.Equal(t, breaker.Open, b.State(), "Auto takes up what the calls have shown")

		b.ForceClosed()
		for range 20 {
			require.NoError(t, b.Run(t.Context(), ok))
		}
		b.Auto()
		require.Equal(t, breaker.Closed, b.State())
	})
}

// Contract: 12
func TestAutoTakesUpTheStateFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{})
		b.ForceClosed()
		require.NoError(t, b.Run(t.Context(), ok)) // too few calls to judge by
		b.Auto()
		require.Equal(t, breaker.Open, b.State())

		b.ForceOpen()
		time.Sleep(time.Minute)
		b.Auto()
		require.Equal(t, breaker.HalfOpen, b.State(), "its open time is over")
		require.Zero(t, b.Stats().RetryAfter)
		require.NoError(t, b.Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

// A probe under way ends on the state machine also while the breaker is forced.
//
// Contract: 1, 12
func TestProbeEndsWhileForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{})
		probe, err := b.Enter(t.Context())
		require.NoError(t, err)
		b.ForceOpen()
		require.NoError(t, probe.Done(nil))
		require.Equal(t, breaker.Open, b.State())
		b.Auto()
		require.Equal(t, breaker.Closed, b.State())
	})
}

// A forced mode shows the probes that are under way, and keeps how far the open
// time has grown.
//
// Contract: 11, 12
func TestForcedModeForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: time.Minute})
		for range 3 {
			require.Error(t, b.Run(t.Context(), failed))
			time.Sleep(b.Stats().RetryAfter)
		}
		probe, err := b.Enter(t.Context())
		require.NoError(t, err)
		b.ForceClosed()
		require.Equal(t, 1, b.Stats().Probing)
		require.NoError(t, b.Run(t.Context(), ok)) // too few to judge by
		_ = probe.Done(errCall)
		require.Zero(t, b.Stats().Probing)
		b.Auto()
		require.Equal(t, breaker.Open, b.State())
		require.Greater(t, b.Stats().RetryAfter, 14*time.Second)

		b.ForceClosed()
		for range 20 {
			require.NoError(t, b.Run(t.Context(), ok))
		}
		b.Auto()
		require.Error(t, b.Run(t.Context(), failed))
		require.LessOrEqual(t, b.Stats().RetryAfter, time.Second, "so many successes are a recovery")
	})
}

// To ask for what is there already changes nothing and is told to nobody.
//
// Contract: 10, 12
func TestForcingWhatIsForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := opened(t, breaker.Config{OnChange: func(c breaker.Change) { changes = append(changes, c) }})
		b.ForceOpen()
		b.Auto()
		b.ForceClosed()
		require.Error(t, b.Run(t.Context(), failed))
		before := b.Stats()
		time.Sleep(time.Second)
		b.ForceClosed()
		require.Equal(t, before, b.Stats())
		b.Reset()
		require.Equal(t, stability.ModeOn, b.Stats().Mode)
		b.Reset()
		b.ForceOpen()
		b.Reset()
		require.Equal(t, stability.ModeOn, b.Stats().Mode)
		require.Equal(t, breaker.Closed, b.State())
		requireAlternating(t, changes)
		require.Len(t, changes, 4)
		require.Equal(t, changes[3].At, b.Stats().Since)
		time.Sleep(time.Second)
		b.ForceOpen()
		time.Sleep(time.Second)
		b.Auto()
		require.Equal(t, time.Now(), b.Stats().Since, "closed since now, though by the window of before")
		require.Equal(t, time.Now(), changes[5].At)
	})
}

// Contract: 12
func TestForcedModeDoesNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{})
		b.ForceClosed()
		for range 30 {
			require.Error(t, b.Run(t.Context(), failed))
		}
		require.Zero(t, b.Stats().Opened)
		for range 40 {
			require.NoError(t, b.Run(t.Context(), ok))
		}
		b.Auto()
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Stats().Opened)
	})
}

// Contract: 12
func TestForceClosedEndsTheRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{OpenFor: time.Second, RampFor: time.Minute})
		require.NoError(t, b.Run(t.Context(), ok))
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
		b.ForceClosed()
		b.Auto()
		for range 100 {
			require.NoError(t, b.Run(t.Context(), ok))
		}
		require.Error(t, b.Run(t.Context(), failed))
		require.LessOrEqual(t, b.Stats().RetryAfter, time.Second)
	})
}

// Contract: 12
func TestObserveRefusesNothingAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New(breaker.Config{
			Observe: true, Consecutive: 3,
			OnChange: func(c breaker.Change) { changes = append(changes, c) },
		})
		for range 10 {
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
		require.Equal(t, breaker.Open, b.State())
		require.EqualValues(t, 7, b.Stats().Observed)
		require.Equal(t, stability.Calls{Failed: 10}, b.Stats().Calls)
		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, b.Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
		require.Len(t, changes, 3)
	})
}

func TestResetForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{OpenFor: time.Second})
		require.Error(t, b.Run(t.Context(), failed)) // the open time has grown
		late, _ := b.Enter(t.Context())
		b.Reset()
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, breaker.Counts{}, b.Stats().Window)
		_ = late.Done(errCall)
		require.Equal(t, breaker.Closed, b.State(), "a call of before does not count")
		require.Error(t, b.Run(t.Context(), failed))
		require.LessOrEqual(t, b.Stats().RetryAfter, time.Second)
	})
}

// Who reads a refusal can tell a breaker that was switched off from one that found its
// dependency failing: both said "circuit open".
//
// Contract: 12
func TestForcedOpenReadsUnlikeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{Name: "stock"})
		failedOpen := b.Run(t.Context(), ok)
		require.ErrorIs(t, failedOpen, breaker.ErrOpen)
		require.NotErrorIs(t, failedOpen, breaker.ErrForcedOpen)
		b.ForceOpen()
		for _, enter := range []func() error{
			func() error { return b.Run(t.Context(), ok) },
			func() error { _, err := b.Enter(t.Context()); return err },
			func() error { return stability.Chain(b, b).Run(t.Context(), ok) },
			func() error {
				_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 1, nil })
				return err
			},
		} {
			err := enter()
			require.EqualError(t, err, "stock: breaker: forced open")
			require.ErrorIs(t, err, breaker.ErrForcedOpen)
			require.ErrorIs(t, err, breaker.ErrOpen)
			require.ErrorIs(t, err, stability.ErrRejected)
			require.True(t, stability.Rejected(err))
			require.Zero(t, stability.RetryAfter(err))
		}
		require.NotErrorIs(t, breaker.ErrOpen, breaker.ErrForcedOpen)
	})
	for _, sentinel := range []error{breaker.ErrOpen, breaker.ErrForcedOpen} {
		require.True(t, stability.Rejected(sentinel), "also where a library keeps nothing else")
	}
}

// ForceOpen is what an operator wants now, and Observe what somebody configured once: it
// refuses.
//
// Contract: 12
func TestForceOpenWinsOverObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{Observe: true})
		require.NoError(t, b.Run(t.Context(), ok))
		b.ForceOpen()
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrForcedOpen)
		_, err := b.Enter(t.Context())
		require.ErrorIs(t, err, breaker.ErrForcedOpen)
		require.EqualValues(t, 2, b.Stats().Rejected)
		require.EqualValues(t, 1, b.Stats().Observed)
		b.Auto()
		require.NoError(t, b.Run(t.Context(), ok))
		require.EqualValues(t, 2, b.Stats().Observed)
	})
}

func TestStatesAreText(t *testing.T) {
	for want, v := range map[string]breaker.State{`"closed"`: breaker.Closed, `"half_open"`: breaker.HalfOpen, `"open"`: breaker.Open} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		var back breaker.State
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, v, back)
	}
	back := breaker.Open
	require.ErrorContains(t, json.Unmarshal([]byte(`"ajar"`), &back), `breaker: "ajar" is no state`)
	require.Equal(t, breaker.Open, back)
	require.Equal(t, "state(7)", breaker.State(7).String())
}

// Which caller gave up, and why, was lost where the breaker found the context ended.
//
// Contract: 6
func TestEndedContextKeepsItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the client is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		for _, b := range []*breaker.Breaker{breaker.New(breaker.Config{}), opened(t, breaker.Config{}), probing(t, breaker.Config{SlowCall: 1})} {
			_, enter := b.Enter(ctx)
			_, do := breaker.Do(ctx, b, func(context.Context) (int, error) { return 1, nil })
			for _, err := range []error{b.Run(ctx, ok), enter, do, stability.Chain(b, b).Run(ctx, ok)} {
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, cause)
			}
		}
	})
}

func TestNilBreaker(t *testing.T) {
	var b *breaker.Breaker
	b.ForceOpen()
	b.ForceClosed()
	b.Auto()
	b.Reset()
	require.Equal(t, breaker.Closed, b.State())
	require.Zero(t, b.Stats())
}
