package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
)

// A lapsed probe was noticed when the next call came, and the open time began then: a
// host that nobody had called for an hour refused the first call, and read open for ever
// where none came.
//
// Contract: 1, 50
func TestAnOpenTimeBeginsWhenTheProbeLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := probing(t, breaker.Config{OnChange: func(c breaker.Change) { changes = append(changes, c) }})
		_, err := b.Enter(t.Context()) // and it is never back
		require.NoError(t, err)
		began := time.Now()
		time.Sleep(time.Hour)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Zero(t, b.Stats().RetryAfter)
		require.Zero(t, b.Stats().Probing)
		since := b.Stats().Since
		require.NoError(t, b.Run(t.Context(), ok), "the first call is a probe")
		require.Equal(t, breaker.Closed, b.State())

		requireAlternating(t, changes)
		lapsed, over := changes[2], changes[3]
		require.Equal(t, breaker.CauseProbeLapsed, lapsed.Cause)
		require.Equal(t, began.Add(30*time.Second), lapsed.At)
		require.Equal(t, breaker.CauseOpenTimeOver, over.Cause)
		require.Equal(t, since, over.At)
		require.WithinRange(t, over.At, lapsed.At.Add(9*time.Second), lapsed.At.Add(10*time.Second))
		require.Equal(t, time.Now(), changes[4].At)
	})
}

// What is read at any moment is what a call that comes then is told, whether or not
// others came before, and what the change says that is told with it.
//
// Contract: 43, 50
func TestReadingsAgreeAtAnyMoment(t *testing.T) {
	for name, jitter := range map[string]func(time.Duration) time.Duration{
		"by chance": nil, "by a Jitter": func(longest time.Duration) time.Duration { return longest / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			for after := time.Duration(0); after < 50*time.Second; after += 777 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) { readingsAgree(t, after, jitter) })
			}
		})
	}
}

func readingsAgree(t *testing.T, after time.Duration, jitter func(time.Duration) time.Duration) {
	meter := policytest.NewMeter()
	var changes []breaker.Change
	b := probing(t, breaker.Config{
		Name: "stock", MeterProvider: meter, Jitter: jitter,
		OnChange: func(c breaker.Change) { changes = append(changes, c) },
	})
	policytest.Keep(t, b)
	lost, err := b.Enter(t.Context())
	require.NoError(t, err)
	time.Sleep(after)

	stats := b.Stats()
	require.Equal(t, stats.State, b.State())
	require.Equal(t, stats.State == breaker.Open, stats.RetryAfter > 0)
	requireState(t, meter, stats.State)
	require.Equal(t, stats, b.Stats(), "to read changes nothing")
	require.Equal(t, stats.Probing == 1, after < 30*time.Second)

	pass, err := b.Enter(t.Context())
	admitted := stats.State == breaker.HalfOpen && stats.Probing == 0
	require.Equal(t, admitted, err == nil, "%v after %v: %v", stats, after, err)
	now := b.Stats()
	require.Equal(t, stats.State, now.State)
	require.Equal(t, stats.Since, now.Since)
	require.Equal(t, stats.Opened, now.Opened)
	last := changes[len(changes)-1]
	require.Equal(t, stats.State, last.To)
	require.Equal(t, stats.Since, last.At)
	if jitter == nil && err != nil {
		require.Equal(t, stats.RetryAfter, stability.RetryAfter(err))
		require.Equal(t, stats.RetryAfter, now.RetryAfter)
	}
	before := b.Stats()
	before.Calls = stability.Calls{}
	if stats.Probing == 0 {
		_ = lost.Done(errCall)
	}
	late := b.Stats()
	late.Calls = stability.Calls{}
	require.Equal(t, before, late, "a late result changes nothing")
	if pass != nil {
		require.NoError(t, pass.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
	}
}

// Probes that are lost one after the other make the open time grow with each, and not
// with the hours in which nobody came.
//
// Contract: 11, 50
func TestLapsesInARow(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Minute, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := probing(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: time.Hour, Probes: 3, ProbeFor: time.Second})
			for _, nominal := range []time.Duration{2, 4, 8, 16} {
				nominal *= time.Second
				for range 3 {
					_, err := b.Enter(t.Context())
					require.NoError(t, err)
				}
				opened := b.Stats().Opened
				time.Sleep(time.Second)
				openFor := b.Stats().RetryAfter
				require.LessOrEqual(t, openFor, nominal)
				require.GreaterOrEqual(t, openFor, nominal-nominal/10)
				require.Equal(t, opened+1, b.Stats().Opened, "three lost probes are one failed recovery")
				time.Sleep(openFor - 1)
				require.Equal(t, breaker.Open, b.State())
				time.Sleep(1 + idle)
				require.Equal(t, breaker.HalfOpen, b.State())
			}
			require.NoError(t, b.Run(t.Context(), ok))
		})
	}
}

// What somebody does to a breaker whose probe has lapsed finds it as it reads.
//
// Contract: 12, 50
func TestSwitchesAfterALapse(t *testing.T) {
	for name, of := range map[string]struct {
		do   func(*breaker.Breaker)
		then breaker.State
	}{
		"Reset":                {(*breaker.Breaker).Reset, breaker.Closed},
		"ForceClosed":          {(*breaker.Breaker).ForceClosed, breaker.Closed},
		"ForceOpen":            {(*breaker.Breaker).ForceOpen, breaker.Open},
		"ForceOpen, then Auto": {func(b *breaker.Breaker) { b.ForceOpen(); b.Auto() }, breaker.Open},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var changes []breaker.Change
				b := probing(t, breaker.Config{OnChange: func(c breaker.Change) { changes = append(changes, c) }})
				_, err := b.Enter(t.Context())
				require.NoError(t, err)
				time.Sleep(31 * time.Second)
				require.Equal(t, breaker.Open, b.State())
				of.do(b)
				require.Equal(t, of.then, b.State())
				require.EqualValues(t, 2, b.Stats().Opened)
				requireAlternating(t, changes)
				require.Equal(t, breaker.CauseProbeLapsed, changes[2].Cause)
				require.Equal(t, of.then, changes[len(changes)-1].To)
				b.Reset()
				require.NoError(t, b.Run(t.Context(), ok))
			})
		})
	}

	// It lapses, and its open time passes, while the breaker is forced.
	synctest.Test(t, func(t *testing.T) {
		b := probing(t, breaker.Config{})
		_, err := b.Enter(t.Context())
		require.NoError(t, err)
		b.ForceOpen()
		time.Sleep(time.Hour)
		require.Equal(t, breaker.Open, b.State(), "which somebody said")
		require.Zero(t, b.Stats().Probing)
		b.Auto()
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, b.Run(t.Context(), ok))
	})
}
