package breaker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/crumplezone/stability/internal/policytest"
)

// Whatever the wall clock is set to meanwhile, a breaker does what it would have
// done: it counts what its window spans, probes when the open time is over, gives up
// a probe in its time, ramps up, and knows which calls were slow.
//
// Contract: 13
func TestWallClockStepsChangeNothing(t *testing.T) {
	const day = 24 * time.Hour
	for _, step := range []time.Duration{0, time.Hour, -time.Hour, 5000 * day, -5000 * day} {
		t.Run(step.String(), func(t *testing.T) { wallClockSteps(t, step) })
	}
}

func wallClockSteps(t *testing.T, step time.Duration) {
	b := New(Config{
		Window: 10 * time.Hour, SlowCall: time.Hour,
		OpenFor: 4 * time.Hour, MaxOpenFor: 4 * time.Hour, ProbeFor: 5 * time.Hour, RampFor: 10 * time.Hour,
		MeterProvider: noop.NewMeterProvider(), // the global one is everybody's
	})
	saved := epoch
	defer func() { epoch = saved }()
	pass := func(d time.Duration) {
		t.Helper()
		require.GreaterOrEqual(t, policytest.Elapse(t, b, d, d+step), 2)
		require.Equal(t, 1, policytest.Elapse(t, &epoch, d, d+step))
	}
	works := func(context.Context) error { return nil }
	const minute = time.Minute // more than the test takes

	for range 19 {
		_ = b.Run(t.Context(), fails)
	}
	pass(10*time.Hour - minute)
	require.Equal(t, Counts{Failures: 19}, b.Stats().Window)
	require.NoError(t, b.Run(t.Context(), func(context.Context) error { pass(minute / 2); return nil }))
	require.Equal(t, Counts{Failures: 19, Successes: 1}, b.Stats().Window, "it was not slow")
	pass(minute)
	require.Equal(t, Counts{Successes: 1}, b.Stats().Window)
	require.NoError(t, b.Run(t.Context(), func(context.Context) error { pass(time.Hour); return nil }))
	require.EqualValues(t, 1, b.Stats().Window.Slow)

	for range 20 {
		_ = b.Run(t.Context(), fails)
	}
	openFor := b.Stats().RetryAfter
	pass(openFor - minute)
	b.real.ready.Store(nil) // as its timer would
	require.InDelta(t, minute, b.Stats().RetryAfter, float64(minute/2))
	require.ErrorIs(t, b.Run(t.Context(), works), ErrOpen)
	pass(minute)
	require.Equal(t, HalfOpen, b.State())

	lost, err := b.Enter(t.Context())
	require.NoError(t, err)
	pass(5*time.Hour - minute)
	require.Equal(t, HalfOpen, b.State())
	pass(minute)
	require.Equal(t, Open, b.State())
	require.NoError(t, lost.Done(nil))
	require.Equal(t, Open, b.State())

	pass(b.Stats().RetryAfter)
	b.real.ready.Store(nil)
	require.NoError(t, b.Run(t.Context(), works))
	require.Equal(t, Closed, b.State())
	pass(5 * time.Hour)
	admitted := 0
	for range 1000 {
		if b.Run(t.Context(), works) == nil {
			admitted++
		}
	}
	require.InDelta(t, 550, admitted, 5)
	pass(5 * time.Hour)
	for range 100 {
		require.NoError(t, b.Run(t.Context(), works))
	}
	require.Zero(t, b.streak, "the recovery is complete")
}
