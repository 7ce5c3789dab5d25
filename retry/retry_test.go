package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/retry"
)

var errCall = errors.New("the call's own error")

func ok(context.Context) error { return nil }

// failing returns a function that fails n times with err, and counts its calls.
func failing(n int, err error) (fn func(context.Context) error, calls *int) {
	calls = new(int)
	return func(context.Context) error {
		*calls++
		if *calls <= n {
			return err
		}
		return nil
	}, calls
}

const always = 1 << 30

func TestFirstSuccessEnds(t *testing.T) {
	for failures := range 3 {
		synctest.Test(t, func(t *testing.T) {
			r := retry.New(retry.Config{})
			fn, calls := failing(failures, errCall)
			require.NoError(t, r.Run(t.Context(), fn))
			require.Equal(t, failures+1, *calls)
			s := r.Stats()
			require.Equal(t, stability.Calls{Succeeded: 1}, s.Calls)
			require.EqualValues(t, failures+1, s.Attempts)
		})
	}
}

// Contract: 27, 28
func TestAttemptsAreTheMost(t *testing.T) {
	for attempts := range 12 {
		synctest.Test(t, func(t *testing.T) {
			most := attempts
			if attempts == 0 {
				most = 3
			}
			r := retry.New(retry.Config{Name: "payments", Attempts: attempts})
			fn, calls := failing(always, errCall)
			err := r.Run(t.Context(), fn)
			require.Equal(t, most, *calls)
			require.ErrorIs(t, err, retry.ErrExhausted)
			require.ErrorIs(t, err, errCall)
			var gaveUp *retry.Error
			require.ErrorAs(t, err, &gaveUp)
			require.Equal(t, most, gaveUp.Attempts)
			require.Equal(t, "payments", gaveUp.Name)
			require.Equal(t, "retry_exhausted", gaveUp.ErrorType())
			require.EqualError(t, err, fmt.Sprintf("payments: retry: attempts exhausted (attempt %d: the call's own error)", most))
			s := r.Stats()
			require.Equal(t, stability.Calls{Failed: 1}, s.Calls)
			require.EqualValues(t, 1, s.Exhausted)
			require.EqualValues(t, most, s.Attempts)
		})
	}
}

func TestErrorKeepsABoundedHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Attempts: 1000, Budget: retry.Unlimited()})
		n := 0
		err := r.Run(t.Context(), func(context.Context) error { n++; return fmt.Errorf("%d", n) })
		var gaveUp *retry.Error
		require.ErrorAs(t, err, &gaveUp)
		require.Equal(t, 1000, gaveUp.Attempts)
		require.Len(t, gaveUp.Errors, 8)
		require.EqualError(t, gaveUp.Errors[0], "993")
		require.EqualError(t, gaveUp.Errors[7], "1000")
		require.LessOrEqual(t, cap(gaveUp.Errors), 16)
	})
}

// Contract: 29
func TestNeverRetried(t *testing.T) {
	rejection := &stability.Rejection{Policy: "breaker", Reason: errCall, RetryAfter: time.Second}
	gaveUp := &retry.Error{Reason: retry.ErrExhausted, Attempts: 3, Errors: []error{errCall}}
	for name, err := range map[string]error{
		"a rejection":                 rejection,
		"a wrapped rejection":         fmt.Errorf("client: %w", rejection),
		"what another retry gave up":  gaveUp,
		"the same, wrapped":           fmt.Errorf("client: %w", gaveUp),
		"what Retryable says no to":   errCall,
		"no matter what it is called": errors.Join(errCall, rejection),
	} {
		t.Run(name, func(t *testing.T) {
			r := retry.New(retry.Config{Retryable: func(err error) bool { return !errors.Is(err, errCall) || err == rejection }})
			fn, calls := failing(always, err)
			require.Equal(t, err, r.Run(t.Context(), fn), "the error comes back as it is")
			require.Equal(t, 1, *calls)
		})
	}
}

// Contract: 29
func TestRetryableCannotAllowARejection(t *testing.T) {
	r := retry.New(retry.Config{Retryable: func(error) bool { return true }})
	fn, calls := failing(always, &stability.Rejection{Policy: "bulkhead"})
	require.ErrorIs(t, r.Run(t.Context(), fn), stability.ErrRejected)
	require.Equal(t, 1, *calls)
	require.Equal(t, stability.Calls{Ignored: 1}, r.Stats().Calls)
}

// Contract: 29
func TestCallersCancellationIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{context.Canceled, errCall} {
			r := retry.New(retry.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			calls := 0
			got := r.Run(ctx, func(context.Context) error { calls++; cancel(); return err })
			require.Equal(t, 1, calls)
			require.ErrorIs(t, got, context.Canceled)
			require.ErrorIs(t, got, err)
			if errors.Is(err, context.Canceled) {
				require.Equal(t, err, got, "it says why by itself")
			}
			require.Equal(t, stability.Calls{Ignored: 1}, r.Stats().Calls)
			require.Zero(t, r.Stats().Budget.Spent)
		}
	})
}

func TestDeadlineOfTheAttemptIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		calls := 0
		require.NoError(t, r.Run(ctx, func(ctx context.Context) error {
			calls++
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if calls < 3 {
				<-ctx.Done()
			}
			return ctx.Err()
		}))
		require.Equal(t, 3, calls)
	})
}

// Contract: 28
func TestNoPauseThatTheDeadlineWouldEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Base: time.Minute, Max: time.Minute, Jitter: longest})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		fn, calls := failing(always, errCall)
		began := time.Now()
		err := r.Run(ctx, fn)
		require.Equal(t, began, time.Now(), "it did not wait")
		require.Equal(t, 1, *calls)
		require.ErrorIs(t, err, retry.ErrDeadline)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errCall)
		require.EqualValues(t, 1, r.Stats().OutOfTime)
		require.Zero(t, r.Stats().Budget.Spent)
	})
}

func longest(d time.Duration) time.Duration { return d }

// Contract: 28
func TestCancellationEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Base: time.Hour, Max: time.Hour, Jitter: longest})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		fn, calls := failing(always, errCall)
		began := time.Now()
		err := r.Run(ctx, fn)
		require.Equal(t, time.Minute, time.Since(began))
		require.Equal(t, 1, *calls)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errCall)
		require.EqualError(t, err, "retry: context canceled (attempt 1: the call's own error)")
		require.Equal(t, stability.Calls{Ignored: 1}, r.Stats().Calls)
	})
}

// A retry that was not made is not paid for, whether the window in which it was
// paid for is still counted or not.
//
// Contract: 44
func TestCancellationGivesTheTokenBack(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, 65 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := retry.New(retry.Config{Base: time.Hour, Max: time.Hour, Jitter: longest})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
			time.AfterFunc(pause-1, func() { r.Stats() })
			time.AfterFunc(pause, cancel)
			fn, _ := failing(always, errCall)
			require.ErrorIs(t, r.Run(ctx, fn), context.Canceled)
			require.Zero(t, r.Stats().Budget.Spent)
		})
	}
}

// A server says when to come back: not before, and not all at once.
func TestPushbackIsAFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Base: 10 * time.Millisecond, Max: time.Second})
		asked := pushback(time.Minute)
		for range 20 {
			fn, _ := failing(1, fmt.Errorf("client: %w", asked))
			began := time.Now()
			require.NoError(t, r.Run(t.Context(), fn))
			require.GreaterOrEqual(t, time.Since(began), time.Minute)
			require.LessOrEqual(t, time.Since(began), time.Minute+10*time.Millisecond, "MaxPushback is a minute")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		fn, calls := failing(1, asked)
		began := time.Now()
		require.ErrorIs(t, r.Run(ctx, fn), retry.ErrDeadline)
		require.Equal(t, began, time.Now())
		require.Equal(t, 1, *calls)
	})
}

// A dependency cannot hold a call without a deadline for as long as it likes.
//
// Contract: 27
func TestPushbackHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for _, asked := range []pushback{pushback(time.Minute + 1), pushback(24 * time.Hour), math.MaxInt64} {
			r := retry.New(retry.Config{})
			fn, calls := failing(always, asked)
			err := r.Run(t.Context(), fn)
			require.ErrorIs(t, err, retry.ErrPushback)
			require.ErrorIs(t, err, asked)
			require.Equal(t, 1, *calls)
			require.EqualValues(t, 1, r.Stats().PushedBack)
			require.Zero(t, r.Stats().Budget.Spent)
		}
		require.Equal(t, began, time.Now())

		patient := retry.New(retry.Config{Base: 1, Max: 1, MaxPushback: 2 * time.Hour})
		fn, _ := failing(1, pushback(2*time.Hour))
		require.NoError(t, patient.Run(t.Context(), fn))

		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
		defer cancel()
		fn, _ = failing(1, pushback(24*time.Hour))
		require.NoError(t, retry.New(retry.Config{}).Run(ctx, fn), "the deadline is the bound where there is one")
	})
}

// Where an attempt was made and another one refused, the call was made: what it ends
// in is no Rejection, which says that it was not, and finds the last attempt's error.
//
// Contract: 28, 29
func TestRefusedAfterAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := breaker.New(breaker.Config{})
		inner := breaker.New(breaker.Config{Name: "inventory", Consecutive: 2, OpenFor: time.Minute})
		r := retry.New(retry.Config{Attempts: 5, Base: 1, Max: 1})
		p := stability.Chain(outer, r, inner)
		fn, calls := failing(always, errCall)
		err := p.Run(t.Context(), fn)
		require.Equal(t, 2, *calls)
		require.False(t, stability.Rejected(err))
		require.ErrorIs(t, err, retry.ErrRefused)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, errCall)
		require.InDelta(t, time.Minute, stability.RetryAfter(err), float64(10*time.Second), "OpenFor, with its jitter")
		var gaveUp *retry.Error
		require.ErrorAs(t, err, &gaveUp)
		require.Equal(t, 2, gaveUp.Attempts)
		require.Equal(t, "retry_refused", gaveUp.ErrorType())
		require.ErrorContains(t, err, "retry: another attempt was refused: inventory: breaker: circuit open, retry after")
		require.ErrorContains(t, err, "(attempt 2: the call's own error)")
		require.EqualValues(t, 1, outer.Stats().Failed)
		require.EqualValues(t, 1, r.Stats().Refused)

		err = p.Run(t.Context(), fn)
		require.Equal(t, 2, *calls)
		require.True(t, stability.Rejected(err), "not even a first attempt")
		require.EqualValues(t, 1, outer.Stats().Ignored)
	})
}

// Where the caller's time was over when the attempt was refused, that is why.
func TestRefusedForWantOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Base: 1, Max: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls := 0
		err := r.Run(ctx, func(ctx context.Context) error {
			if calls++; calls == 1 {
				return errCall
			}
			<-ctx.Done() // in a queue
			return &stability.Rejection{Reason: ctx.Err()}
		})
		require.False(t, stability.Rejected(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errCall)
		require.EqualValues(t, 1, r.Stats().OutOfTime)
		require.Zero(t, r.Stats().Refused)
	})
}

// Retryable is asked about nothing that is never retried.
func TestRetryableIsNotAsked(t *testing.T) {
	r := retry.New(retry.Config{Retryable: func(err error) bool { panic(err) }})
	for _, err := range []error{&stability.Rejection{Policy: "breaker"}, &retry.Error{Reason: retry.ErrBudget, Errors: []error{errCall}}} {
		fn, _ := failing(always, err)
		require.Equal(t, err, r.Run(t.Context(), fn))
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Run(ctx, func(context.Context) error { cancel(); return errCall })
	require.ErrorIs(t, err, errCall)
	require.ErrorIs(t, err, context.Canceled)
}

// A deadline that passes during an attempt is the same as one that leaves no time for
// another.
func TestDeadlineThatPassesDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Run(ctx, func(context.Context) error { time.Sleep(2 * time.Second); return errCall })
		var gaveUp *retry.Error
		require.ErrorAs(t, err, &gaveUp)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errCall)
		require.Equal(t, "retry_deadline", gaveUp.ErrorType())
		require.EqualValues(t, 1, r.Stats().OutOfTime)
	})
}

type pushback time.Duration

func (p pushback) Error() string           { return "busy" }
func (p pushback) Pushback() time.Duration { return time.Duration(p) }

func TestPanicInALaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{})
		value := new(int)
		calls := 0
		func() {
			defer func() { require.Same(t, value, recover()) }()
			_ = r.Run(t.Context(), func(context.Context) error {
				if calls++; calls == 2 {
					panic(value)
				}
				return errCall
			})
		}()
		require.Equal(t, 2, calls)
		require.Equal(t, stability.Calls{Failed: 1}, r.Stats().Calls)
		require.EqualValues(t, 2, r.Stats().Attempts)
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Run(context.Background(), func(context.Context) error { runtime.Goexit(); return nil }) })
		wg.Wait()
		require.Equal(t, stability.Calls{Failed: 2}, r.Stats().Calls)
	})
}

// A function of the user's that panics is the user's own; nothing is lost by it.
func TestPanicsOfTheUsersFunctions(t *testing.T) {
	boom := func() { panic("boom") }
	for name, cfg := range map[string]retry.Config{
		"Retryable": {Retryable: func(error) bool { boom(); return true }},
		"Jitter":    {Jitter: func(time.Duration) time.Duration { boom(); return 0 }},
		"Classify":  {Attempts: 1, Classify: func(context.Context, error) stability.Outcome { boom(); return 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			r := retry.New(cfg)
			fn, _ := failing(always, errCall)
			require.PanicsWithValue(t, "boom", func() { _ = r.Run(t.Context(), fn) })
			require.EqualValues(t, 1, r.Stats().Started())
			require.Zero(t, r.Stats().Budget.Spent)
		})
	}
}

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		next := func(context.Context) (int, error) {
			if n++; n < 3 {
				return n, errCall
			}
			return n, nil
		}
		r := retry.New(retry.Config{})
		v, err := retry.Do(t.Context(), r, next)
		require.NoError(t, err)
		require.Equal(t, 3, v)

		n = -10
		v, err = retry.Do(t.Context(), r, next)
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, -7, v, "what the last attempt returned")

		v, err = retry.Do(t.Context(), nil, next)
		require.ErrorIs(t, err, errCall)
		require.Equal(t, -6, v)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		v, err = retry.Do(ctx, r, next)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, v)
		require.Equal(t, -6, n)
	})
}

func TestNilHasStats(t *testing.T) {
	require.Zero(t, (*retry.Retry)(nil).Stats())
}

// Contract: 41
func TestConfig(t *testing.T) {
	for want, cfg := range map[string]retry.Config{
		"retry: Config.Attempts (-1) must not be negative":                                                 {Attempts: -1},
		"retry: Config.Base (-1ns) must not be negative":                                                   {Base: -1},
		"retry: Config.Max (-1ns) must not be negative":                                                    {Max: -1},
		"retry: Config.Base (2ns) must not be longer than Config.Max (1ns)":                                {Base: 2, Max: 1},
		"retry: Config.MaxPushback (-1ns) must not be negative":                                            {MaxPushback: -1},
		"retry: Config.Attempts (-1) must not be negative\nretry: Config.Base (-2ns) must not be negative": {Attempts: -1, Base: -2},
	} {
		require.EqualError(t, cfg.Validate(), want)
		require.PanicsWithError(t, want, func() { retry.New(cfg) })
	}
	for _, cfg := range []retry.Config{
		{}, {Attempts: math.MaxInt}, {Base: 1}, {Max: 1}, {Base: math.MaxInt64}, {Max: math.MaxInt64}, {Base: time.Hour},
	} {
		require.NoError(t, cfg.Validate())
		require.NotPanics(t, func() { retry.New(cfg) })
	}
}

// OnRetry hears of each failure after which another attempt is made, before the
// pause, of which it may take a part.
//
// Contract: 28
func TestOnRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		type event struct {
			at      time.Duration
			attempt int
			err     error
			pause   time.Duration
		}
		var events []event
		r := retry.New(retry.Config{
			Base:   time.Second,
			Jitter: func(longest time.Duration) time.Duration { return longest },
			OnRetry: func(ctx context.Context, err error, pause time.Duration) {
				events = append(events, event{time.Since(start), retry.Attempt(ctx), err, pause})
				time.Sleep(time.Second)
			},
		})
		fn, calls := failing(always, errCall)
		require.ErrorIs(t, r.Run(t.Context(), fn), retry.ErrExhausted)
		require.Equal(t, 3, *calls)
		require.Equal(t, []event{{0, 1, errCall, time.Second}, {time.Second, 2, errCall, 2 * time.Second}}, events)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

// It hears nothing where no other attempt is made.
func TestOnRetryIsNotCalledAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{MinPerSecond: 0.1})
		cfg := retry.Config{Budget: budget, OnRetry: func(context.Context, error, time.Duration) { t.Error("called") }}
		fn, _ := failing(always, errCall)
		require.True(t, budget.Spend())
		require.ErrorIs(t, retry.New(cfg).Run(t.Context(), fn), retry.ErrBudget)
		cfg.Attempts, cfg.Budget = 1, retry.Unlimited()
		require.ErrorIs(t, retry.New(cfg).Run(t.Context(), fn), retry.ErrExhausted)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		cfg.Attempts, cfg.Jitter = 3, func(longest time.Duration) time.Duration { return longest }
		require.ErrorIs(t, retry.New(cfg).Run(ctx, fn), retry.ErrDeadline)
	})
}

// What was paid for an attempt that a panic of OnRetry prevented is given back.
//
// Contract: 44
func TestOnRetryPanics(t *testing.T) {
	r := retry.New(retry.Config{OnRetry: func(context.Context, error, time.Duration) { panic("the user's function") }})
	fn, calls := failing(always, errCall)
	require.PanicsWithValue(t, "the user's function", func() { _ = r.Run(t.Context(), fn) })
	require.Equal(t, 1, *calls)
	s := r.Stats()
	require.Equal(t, stability.Calls{Failed: 1}, s.Calls)
	require.Zero(t, s.Budget.Spent)
	require.EqualValues(t, 1, s.Attempts)
}
