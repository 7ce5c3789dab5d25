package breaker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
)

// requireAlternating fails unless the changes follow one another without a gap.
func requireAlternating(t *testing.T, changes []breaker.Change) {
	t.Helper()
	from := breaker.Closed
	for i, c := range changes {
		require.Equal(t, from, c.From, "change %d of %v", i, changes)
		require.NotEqual(t, c.From, c.To)
		from = c.To
	}
}

// Contract: 10
func TestOneChangePerTransition(t *testing.T) {
	const goroutines = 100_000
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change // no lock: listeners never run at the same time
		var telling atomic.Bool
		b := breaker.New(breaker.Config{OnChange: func(c breaker.Change) {
			if telling.Swap(true) {
				t.Error("two listeners at a time")
			}
			changes = append(changes, c)
			runtime.Gosched()
			telling.Store(false)
		}})
		storm := func(call func(context.Context) error) {
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range goroutines / 10 {
				wg.Go(func() {
					<-start
					for range 10 {
						_ = b.Run(t.Context(), call)
					}
				})
			}
			close(start)
			wg.Wait()
		}
		for range 3 {
			storm(failed)
			require.Equal(t, breaker.Open, b.State())
			time.Sleep(b.Stats().RetryAfter)
			storm(ok)
			require.Equal(t, breaker.Closed, b.State())
		}
		requireAlternating(t, changes)
		require.Len(t, changes, 9)
		for i, c := range changes {
			require.Equal(t, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Closed}[i%3], c.To)
		}
		require.EqualValues(t, 3, b.Stats().Opened)
	})
}

// Regression: whether the failures in a row were still enough was asked a second
// time, under the lock. A success in between made it open for no reason.
//
// Contract: 10
func TestEveryOpeningHasItsCause(t *testing.T) {
	var b *breaker.Breaker
	b = breaker.New(breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
		if c.Cause == "" {
			t.Errorf("%v without a cause", c)
		}
		if c.To == breaker.Open {
			b.Reset()
		}
	}})
	var wg sync.WaitGroup
	for range 4 {
		for _, call := range []func(context.Context) error{ok, failed} {
			wg.Go(func() {
				for range 5_000 {
					_ = b.Run(context.Background(), call)
				}
			})
		}
	}
	wg.Wait()
	require.Positive(t, b.Stats().Opened)
}

// Contract: 10
func TestListenerMayUseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		var changes []breaker.Change
		b = breaker.New(breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
			changes = append(changes, c)
			require.Equal(t, c.To, b.State())
			_ = b.Stats()
			_ = b.Run(context.Background(), ok)
			if c.Cause == breaker.CauseConsecutive {
				b.Reset()
			}
		}})
		_ = b.Run(t.Context(), failed)
		requireAlternating(t, changes)
		require.Equal(t, breaker.CauseReset, changes[1].Cause)
		require.Equal(t, breaker.Closed, b.State())
	})
}

// Contract: 10
func TestPanickingListenerBreaksNothingForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		var b *breaker.Breaker
		b = breaker.New(breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
			changes = append(changes, c)
			if len(changes) == 1 {
				b.Reset() // pending while this one is told
				panic("listener")
			}
		}})
		require.PanicsWithValue(t, "listener", func() { _ = b.Run(t.Context(), failed) })
		require.Len(t, changes, 2, "the next change is told all the same")
		requireAlternating(t, changes)
		require.NoError(t, b.Run(t.Context(), ok))
		_ = b.Run(t.Context(), failed)
		require.Len(t, changes, 3)
	})
}

// Contract: 10
func TestSlowListenerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		wait := make(chan struct{})
		b := breaker.New(breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
			<-wait
			changes = append(changes, c)
		}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Run(t.Context(), failed)
		}()
		synctest.Wait()
		require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, b.Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
		require.Empty(t, changes)
		close(wait)
		<-done
		require.Len(t, changes, 3, "who was slow tells of what came meanwhile")
		requireAlternating(t, changes)
	})
}

func TestChangesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := breaker.New(breaker.Config{
			Name: "payments", Consecutive: 1, Logger: slog.New(slog.NewJSONHandler(&out, nil)),
		})
		_ = b.Run(t.Context(), failed)
		b.Reset()
		var lines []map[string]any
		for dec := json.NewDecoder(&out); dec.More(); {
			var line map[string]any
			require.NoError(t, dec.Decode(&line))
			delete(line, "time")
			lines = append(lines, line)
		}
		require.Equal(t, []map[string]any{
			{"level": "WARN", "msg": "breaker changed state", "name": "payments", "from": "closed", "to": "open", "cause": "consecutive",
				"error": "the call's own error", "successes": 0.0, "failures": 1.0, "slow": 0.0},
			{"level": "INFO", "msg": "breaker changed state", "name": "payments", "from": "open", "to": "closed", "cause": "reset"},
		}, lines)
	})
}

// A change said that the breaker had opened, and not because of what.
//
// Contract: 10
func TestChangeSaysWhatItComesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New(breaker.Config{MinCalls: 4, SlowCall: time.Second, SlowRatio: 0.5, OnChange: func(c breaker.Change) { changes = append(changes, c) }})
		slow := func(context.Context) error { time.Sleep(2 * time.Second); return nil }
		last := func() breaker.Change { return changes[len(changes)-1] }
		require.NoError(t, b.Run(t.Context(), ok))
		require.NoError(t, b.Run(t.Context(), ok))
		require.Error(t, b.Run(t.Context(), failed))
		final := errors.New("the last one")
		require.Error(t, b.Run(t.Context(), func(context.Context) error { return final }))
		require.Equal(t, breaker.CauseFailureRatio, last().Cause)
		require.Same(t, final, last().Err)
		require.Equal(t, breaker.Counts{Successes: 2, Failures: 2}, last().Counts)

		time.Sleep(b.Stats().RetryAfter)
		require.Error(t, b.Run(t.Context(), failed))
		require.Equal(t, breaker.CauseProbeFailed, last().Cause)
		require.Same(t, errCall, last().Err)
		require.Zero(t, last().Counts, "a probe is no call of a window")

		time.Sleep(b.Stats().RetryAfter)
		require.NoError(t, b.Run(t.Context(), slow))
		require.Equal(t, breaker.CauseProbeFailed, last().Cause)
		require.NoError(t, last().Err, "it was slow")

		time.Sleep(b.Stats().RetryAfter)
		require.Panics(t, func() { _ = b.Run(t.Context(), func(context.Context) error { panic(1) }) })
		require.Same(t, stability.ErrNoReturn, last().Err)

		b.Reset()
		require.NoError(t, last().Err)
		require.NoError(t, b.Run(t.Context(), ok))
		require.NoError(t, b.Run(t.Context(), ok))
		require.NoError(t, b.Run(t.Context(), slow))
		require.NoError(t, b.Run(t.Context(), slow))
		require.Equal(t, breaker.CauseSlowRatio, last().Cause)
		require.NoError(t, last().Err)
		require.Equal(t, breaker.Counts{Successes: 4, Slow: 2}, last().Counts)

		b.Reset()
		require.NoError(t, b.Run(t.Context(), ok))
		b.ForceOpen()
		require.Equal(t, breaker.CauseForced, last().Cause)
		require.Equal(t, breaker.Counts{Successes: 1}, last().Counts)

		b.ForceClosed()
		for range 4 {
			require.Error(t, b.Run(t.Context(), failed))
		}
		b.Auto()
		require.Equal(t, breaker.CauseFailureRatio, last().Cause)
		require.Equal(t, breaker.Counts{Successes: 1, Failures: 4}, last().Counts)

		// A call that broke after it was answered.
		b.Reset()
		require.Error(t, b.Run(t.Context(), failed))
		require.Error(t, b.Run(t.Context(), failed))
		require.NoError(t, b.Run(t.Context(), ok))
		_ = answered(t, b).Done(final)
		require.Equal(t, breaker.CauseFailureRatio, last().Cause)
		require.Same(t, final, last().Err)
		require.Equal(t, breaker.Counts{Successes: 1, Failures: 3}, last().Counts)
	})
}

// The text of an error is a server's, and is bounded where it is reported; to ask for it
// harms nobody.
//
// Contract: 10, 43
func TestErrorsAreReportedShortened(t *testing.T) {
	for name, of := range map[string]struct {
		err  error
		want string
	}{
		"of the longest":      {errors.New(strings.Repeat("x", 200)), strings.Repeat("x", 200)},
		"longer":              {errors.New(strings.Repeat("x", 201)), strings.Repeat("x", 197) + "…"},
		"of two-byte letters": {errors.New("a" + strings.Repeat("é", 1<<20)), "a" + strings.Repeat("é", 98) + "…"},
		"no UTF-8":            {errors.New("a\xffb"), "a\uFFFDb"},
		"long and no UTF-8":   {errors.New(strings.Repeat("\x80", 300)), "…"},
		"a nil pointer":       {(*nobody)(nil), "<nil>"},
		"one that panics":     {&nobody{}, "%!v(PANIC=Error method: nobody)"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			b := breaker.New(breaker.Config{
				Consecutive: 1, Logger: slog.New(slog.NewJSONHandler(&out, nil)),
				Classify: func(context.Context, error) stability.Outcome { return stability.Failure },
			})
			events := policytest.Events(t, func(span trace.Span) {
				_ = b.Run(trace.ContextWithSpan(t.Context(), span), func(context.Context) error { return of.err })
			})
			require.Contains(t, events[0], "stability.breaker.error.message="+strings.ReplaceAll(of.want, "=", `\=`)+",")
			var line struct{ Error string }
			require.NoError(t, json.Unmarshal(out.Bytes(), &line))
			require.Equal(t, of.want, line.Error)
			require.LessOrEqual(t, len(line.Error), 200)
		})
	}
}

// nobody is an error whose text cannot be asked for.
type nobody struct{ text string }

func (n *nobody) Error() string {
	if n.text == "" { // as a nil pointer, it panics here
		panic("nobody")
	}
	return n.text
}
