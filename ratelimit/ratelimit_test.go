package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

// bubble runs f in virtual time with a limiter.
func bubble(t *testing.T, cfg ratelimit.Config, f func(t *testing.T, l *ratelimit.Limiter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, ratelimit.New(cfg)) })
}

// drain takes what there is at once.
func drain(l *ratelimit.Limiter) (n int) {
	for l.Allow() {
		n++
	}
	return n
}

func requireRefused(t testing.TB, err error) *stability.Rejection {
	t.Helper()
	require.ErrorIs(t, err, ratelimit.ErrLimited)
	require.ErrorIs(t, err, stability.ErrRejected)
	var r *stability.Rejection
	require.ErrorAs(t, err, &r)
	return r
}

func TestBurstThenRate(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 10, Burst: 5}, func(t *testing.T, l *ratelimit.Limiter) {
		require.Equal(t, 5, drain(l), "full at first")
		for range 20 {
			time.Sleep(time.Second/10 - 1)
			require.False(t, l.Allow())
			time.Sleep(1)
			require.Equal(t, 1, drain(l))
		}
		time.Sleep(time.Hour)
		require.Equal(t, 5, drain(l), "never more than the burst")
	})
}

func TestDefaultBurst(t *testing.T) {
	for rate, want := range map[float64]int{1e-300: 1, 1: 1, 19: 1, 20: 2, 1000: 100, 1e10: 1e9, math.MaxFloat64: 1 << 30} {
		require.Equal(t, want, ratelimit.New(ratelimit.Config{Rate: rate}).Stats().Burst, "rate %v", rate)
	}
}

func TestRunRefusesAtOnce(t *testing.T) {
	bubble(t, ratelimit.Config{Name: "api", Rate: 10, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		require.NoError(t, l.Run(t.Context(), ok))
		r := requireRefused(t, l.Run(t.Context(), func(context.Context) error { t.Error("ran"); return nil }))
		require.Equal(t, &stability.Rejection{Policy: "ratelimit", Name: "api", Reason: ratelimit.ErrLimited, RetryAfter: time.Second / 10}, r)
		time.Sleep(r.RetryAfter)
		require.NoError(t, l.Run(t.Context(), ok))
		require.Equal(t, stability.Calls{Succeeded: 2, Rejected: 1}, l.Stats().Calls)
	})
}

// Refusals share a Rejection for a while: its RetryAfter is never too short, and too
// long by a sixteenth at the most.
//
// Contract: 25
func TestRetryAfterIsNear(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		require.True(t, l.Allow())
		due := time.Now().Add(time.Second)
		shared := map[*stability.Rejection]bool{}
		for time.Until(due) > 0 {
			r := requireRefused(t, l.Run(t.Context(), ok))
			left := time.Until(due)
			require.GreaterOrEqual(t, r.RetryAfter, left)
			require.LessOrEqual(t, r.RetryAfter, left+max(left/15, 100*time.Microsecond))
			shared[r] = true
			time.Sleep(100 * time.Microsecond)
		}
		require.True(t, l.Allow())
		require.Less(t, len(shared), 150, "of 10,000 refusals")
	})
}

// Contract: 25
func TestWaitThatCannotEndInTimeIsRefusedAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		maxWait time.Duration
		within  time.Duration // of the ctx's deadline; 0: none
		waits   time.Duration // -1: refused
	}{
		"does not wait by default":      {0, 0, -1},
		"nor up to a deadline":          {0, time.Hour, -1},
		"waits":                         {time.Minute, 0, time.Second},
		"waits exactly MaxWait":         {time.Second, 0, time.Second},
		"MaxWait is too short":          {time.Second - 1, 0, -1},
		"waits within a deadline":       {time.Minute, time.Second + 1, time.Second},
		"at the deadline is too late":   {time.Minute, time.Second, -1},
		"the deadline is too near":      {time.Minute, time.Second - 1, -1},
		"the longest MaxWait":           {math.MaxInt64, 0, time.Second},
		"MaxWait before the deadline":   {time.Second - 1, time.Hour, -1},
		"a deadline of a nanosecond":    {time.Minute, 1, -1},
		"a deadline in a hundred years": {math.MaxInt64, 100 * 365 * 24 * time.Hour, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ratelimit.Config{Rate: 1, Burst: 1, MaxWait: tt.maxWait}, func(t *testing.T, l *ratelimit.Limiter) {
				for range 2 { // the second meets a refusal that the first has left
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if tt.within > 0 {
						ctx, cancel = context.WithTimeout(ctx, tt.within)
					}
					drain(l)
					began := time.Now()
					err := l.Run(ctx, ok)
					cancel()
					if tt.waits < 0 {
						require.Equal(t, time.Second, requireRefused(t, err).RetryAfter)
						require.Zero(t, time.Since(began))
						continue
					}
					require.NoError(t, err)
					require.Equal(t, tt.waits, time.Since(began))
				}
				require.Zero(t, l.Stats().Queued)
			})
		})
	}
}

// The estimate counts what those ahead in the queue will take.
//
// Contract: 25
func TestEstimateCountsTheQueue(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 5, MaxWait: 10 * time.Second}, func(t *testing.T, l *ratelimit.Limiter) {
		require.True(t, l.AllowN(5))
		var wg sync.WaitGroup
		for _, n := range []int{3, 4} {
			wg.Go(func() { require.NoError(t, l.WaitN(t.Context(), n)) })
			synctest.Wait()
		}
		require.Equal(t, 2, l.Stats().Queued)
		for range 3 {
			wg.Go(func() { require.NoError(t, l.Run(t.Context(), ok)) }) // 8, 9 and 10 s
			synctest.Wait()
		}
		require.Equal(t, 11*time.Second, requireRefused(t, l.Run(t.Context(), ok)).RetryAfter)
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		require.Equal(t, 12*time.Second, requireRefused(t, l.WaitN(ctx, 2)).RetryAfter)
		began := time.Now()
		require.NoError(t, l.Wait(ctx), "Wait knows no MaxWait")
		require.Equal(t, 11*time.Second, time.Since(began))
		wg.Wait()
	})
}

func TestFirstComeFirstServed(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 10}, func(t *testing.T, l *ratelimit.Limiter) {
		require.True(t, l.AllowN(10))
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i, n := range []int{5, 1, 10, 2, 1} {
			wg.Go(func() {
				require.NoError(t, l.WaitN(t.Context(), n))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		for range 18 {
			time.Sleep(time.Second)
			require.False(t, l.Allow(), "nobody overtakes the queue")
		}
		wg.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
	})
}

// Contract: 24
func TestCancelledWaiterHasTakenNothing(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 5, MaxWait: time.Hour}, func(t *testing.T, l *ratelimit.Limiter) {
		require.True(t, l.AllowN(5))
		ctx, cancel := context.WithCancel(t.Context())
		var first, second error
		var wg sync.WaitGroup
		wg.Go(func() { first = l.WaitN(ctx, 5) })
		synctest.Wait()
		wg.Go(func() { second = l.Run(ctx, func(context.Context) error { t.Error("ran"); return nil }) })
		synctest.Wait()
		time.Sleep(time.Second)
		require.False(t, l.Allow(), "the token of the second is the first's")
		cancel()
		wg.Wait()
		for _, err := range []error{first, second} {
			r := requireRefused(t, err)
			require.ErrorIs(t, r, context.Canceled)
			require.Zero(t, r.RetryAfter)
		}
		require.Zero(t, l.Stats().Queued)
		require.Equal(t, 1, drain(l), "the refusal of before holds no longer")
	})
}

// When the first in the queue leaves, the next is served when its tokens come.
//
// Contract: 24
func TestTheNextMovesUp(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 10}, func(t *testing.T, l *ratelimit.Limiter) {
		require.True(t, l.AllowN(10))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { requireRefused(t, l.WaitN(ctx, 10)) })
		synctest.Wait()
		began := time.Now()
		for i := range 3 {
			wg.Go(func() {
				require.NoError(t, l.Wait(t.Context()))
				require.Equal(t, max(time.Duration(i+1)*time.Second, 1500*time.Millisecond), time.Since(began))
			})
			synctest.Wait()
		}
		time.Sleep(1500 * time.Millisecond)
		cancel()
		wg.Wait()
	})
}

// Contract: 26
func TestMoreThanTheBurst(t *testing.T) {
	bubble(t, ratelimit.Config{Name: "api", Rate: 10, Burst: 5}, func(t *testing.T, l *ratelimit.Limiter) {
		for range 2 {
			require.False(t, l.AllowN(6))
			r := requireRefused(t, l.WaitN(t.Context(), 6))
			require.Zero(t, r.RetryAfter)
			require.EqualError(t, r, "api: ratelimit: limited: 6 tokens are more than the burst of 5")
			require.False(t, l.AllowN(math.MaxInt))
			requireRefused(t, l.WaitN(t.Context(), math.MaxInt))
			drain(l)
		}
	})
}

// Contract: 26
func TestNothingIsAskedFor(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		for _, n := range []int{0, -1, math.MinInt} {
			require.True(t, l.AllowN(n))
			require.NoError(t, l.WaitN(t.Context(), n))
		}
		require.Zero(t, drain(l), "nothing was given back")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, l.WaitN(ended, 0))
	})
}

// Contract: 26
func TestExtremeRates(t *testing.T) {
	for _, rate := range []float64{math.SmallestNonzeroFloat64, 1e-300, 1e-12, 1e300, math.MaxFloat64} {
		bubble(t, ratelimit.Config{Rate: rate, Burst: 3, MaxWait: math.MaxInt64}, func(t *testing.T, l *ratelimit.Limiter) {
			require.Equal(t, 3, drain(l), "at one instant, at rate %v", rate)
			began := time.Now()
			err := l.Run(t.Context(), ok)
			if rate < 1 {
				require.Greater(t, requireRefused(t, err).RetryAfter, 100*365*24*time.Hour)
				require.Zero(t, time.Since(began))
				requireRefused(t, l.Wait(t.Context()))
				time.Sleep(10 * 365 * 24 * time.Hour)
				require.Less(t, drain(l), 1)
				return
			}
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), time.Nanosecond)
			for range 100 {
				require.NoError(t, l.WaitN(t.Context(), 3))
			}
			require.LessOrEqual(t, time.Since(began), 101*time.Nanosecond)
			time.Sleep(100 * 365 * 24 * time.Hour)
			require.Equal(t, 3, drain(l))
		})
	}
}

// Contract: 23
func TestAMillionGrantsASecond(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1e6, Burst: 100}, func(t *testing.T, l *ratelimit.Limiter) {
		const span = 100 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		granted := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				n := 0
				for l.Wait(ctx) == nil {
					n++
				}
				mu.Lock()
				granted += n
				mu.Unlock()
			})
		}
		wg.Wait()
		want := 1e6*span.Seconds() + 100
		require.LessOrEqual(t, float64(granted), want)
		require.Greater(t, float64(granted), .99*want)
	})
}

func TestSetRate(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1, MaxWait: 10 * time.Second}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		began := time.Now()
		took := make([]time.Duration, 3)
		errs := make([]error, 3)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { errs[i] = l.Run(t.Context(), ok); took[i] = time.Since(began) })
			synctest.Wait()
		}
		require.NoError(t, l.SetRate(10))
		time.Sleep(150 * time.Millisecond)
		// The second has half of its token. The others would have to wait until
		// 5.15 s and 15.15 s, and may until 10 s.
		require.NoError(t, l.SetRate(.1))
		wg.Wait()
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		require.Equal(t, 10*time.Second, requireRefused(t, errs[2]).RetryAfter-5*time.Second)
		require.Equal(t, []time.Duration{100 * time.Millisecond, 5150 * time.Millisecond, 150 * time.Millisecond}, took)

		for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
			require.Error(t, l.SetRate(bad))
			require.InDelta(t, .1, l.Stats().Rate, 0)
		}
		require.NoError(t, (*ratelimit.Limiter)(nil).SetRate(-1))
	})
}

// SetRate kept the burst of the first rate where nobody had set one: a limiter made for 10
// a second and set to 10,000 let in one call at a time, and one set from 10,000 to 10 let in
// a hundred seconds' worth at once.
func TestSetRateTakesTheBurstAlong(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 10}, func(t *testing.T, l *ratelimit.Limiter) {
		require.Equal(t, 1, l.Stats().Burst)
		require.NoError(t, l.SetRate(10_000))
		require.Equal(t, 1000, l.Stats().Burst)
		time.Sleep(time.Second)
		require.Equal(t, 1000, drain(l))
		time.Sleep(time.Second)
		require.NoError(t, l.SetRate(20))
		require.Equal(t, 2, drain(l))
		require.NoError(t, l.SetRate(math.MaxFloat64))
		require.Equal(t, 1<<30, l.Stats().Burst)

		require.NoError(t, l.SetBurst(7))
		require.NoError(t, l.SetRate(10_000))
		require.Equal(t, 7, l.Stats().Burst, "somebody has set it")
	})
	bubble(t, ratelimit.Config{Rate: 10, Burst: 5}, func(t *testing.T, l *ratelimit.Limiter) {
		require.NoError(t, l.SetRate(10_000))
		require.Equal(t, 5, l.Stats().Burst, "the Config has set it")
	})
}

func TestSetRateTakesRefusalsBack(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1e-6, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		requireRefused(t, l.Run(t.Context(), ok))
		require.NoError(t, l.SetRate(1))
		time.Sleep(time.Second)
		require.NoError(t, l.Run(t.Context(), ok))
	})
}

func TestSetBurst(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 10}, func(t *testing.T, l *ratelimit.Limiter) {
		require.NoError(t, l.SetBurst(5))
		require.Equal(t, 5, drain(l), "those above are lost")
		require.NoError(t, l.SetBurst(10))
		require.Zero(t, drain(l), "a larger bucket is not a fuller one")
		var tooMany error
		var wg sync.WaitGroup
		wg.Go(func() { tooMany = l.WaitN(t.Context(), 10) })
		synctest.Wait()
		wg.Go(func() { require.NoError(t, l.WaitN(t.Context(), 3)) })
		synctest.Wait()
		began := time.Now()
		require.NoError(t, l.SetBurst(3))
		wg.Wait()
		require.ErrorContains(t, tooMany, "10 tokens are more than the burst of 3")
		require.Equal(t, 3*time.Second, time.Since(began))

		for _, bad := range []int{0, -1, 1<<30 + 1} {
			require.Error(t, l.SetBurst(bad))
			require.Equal(t, 3, l.Stats().Burst)
		}
		require.NoError(t, (*ratelimit.Limiter)(nil).SetBurst(-1))
	})
}

func TestStats(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 10, Burst: 4, MaxWait: time.Minute}, func(t *testing.T, l *ratelimit.Limiter) {
		require.Equal(t, ratelimit.Stats{Rate: 10, Burst: 4, Tokens: 4}, l.Stats())
		require.NoError(t, l.Run(t.Context(), ok))
		require.True(t, l.AllowN(3))
		time.Sleep(50 * time.Millisecond)
		require.False(t, l.Allow())
		require.Equal(t, ratelimit.Stats{Calls: stability.Calls{Succeeded: 1, Rejected: 1}, Rate: 10, Burst: 4, Tokens: .5}, l.Stats())
		var wg sync.WaitGroup
		wg.Go(func() {
			require.ErrorIs(t, l.Run(t.Context(), func(context.Context) error { return errCall }), errCall)
		})
		synctest.Wait()
		require.Equal(t, 1, l.Stats().Queued)
		wg.Wait()
		require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1, Rejected: 1}, l.Stats().Calls)
		require.Zero(t, (*ratelimit.Limiter)(nil).Stats())
	})
}

var errCall = errors.New("the call's own error")

func TestDo(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		value := func(context.Context) (int, error) { return 7, errCall }
		v, err := ratelimit.Do(t.Context(), l, value)
		require.Equal(t, 7, v)
		require.Equal(t, errCall, err)
		v, err = ratelimit.Do(t.Context(), l, value)
		require.Zero(t, v)
		requireRefused(t, err)
		v, err = ratelimit.Do(t.Context(), nil, value)
		require.Equal(t, 7, v)
		require.Equal(t, errCall, err)
	})
}

func TestNilLimits(t *testing.T) {
	var l *ratelimit.Limiter
	require.True(t, l.Allow())
	require.True(t, l.AllowN(1<<30))
	require.NoError(t, l.Wait(t.Context()))
	require.NoError(t, l.WaitN(t.Context(), 1<<30))
}

func TestEndedContextTakesNothing(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, l.Run(ended, ok))
		require.Equal(t, context.Canceled, l.Wait(ended))
		require.Equal(t, 1, drain(l))
	})
}

// Contract: 41
func TestValidate(t *testing.T) {
	good := ratelimit.Config{Rate: 1}
	require.NoError(t, good.Validate())
	for want, change := range map[string]func(*ratelimit.Config){
		"ratelimit: Config.Burst (-1) must not be negative":               func(c *ratelimit.Config) { c.Burst = -1 },
		"ratelimit: Config.Burst (1073741825) must be at most 1073741824": func(c *ratelimit.Config) { c.Burst = 1<<30 + 1 },
		"ratelimit: Config.MaxWait (-1ns) must not be negative":           func(c *ratelimit.Config) { c.MaxWait = -1 },
		"ratelimit: Config.Rate (-1) must be positive and finite\nratelimit: Config.Burst (-2) must not be negative\nratelimit: Config.MaxWait (-3ns) must not be negative": func(c *ratelimit.Config) {
			c.Rate, c.Burst, c.MaxWait = -1, -2, -3
		},
	} {
		bad := good
		change(&bad)
		require.EqualError(t, bad.Validate(), want)
		require.PanicsWithError(t, want, func() { ratelimit.New(bad) })
	}
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		require.EqualError(t, ratelimit.Config{Rate: rate}.Validate(), fmt.Sprintf("ratelimit: Config.Rate (%v) must be positive and finite", rate))
	}
	require.NoError(t, ratelimit.Config{Rate: math.MaxFloat64, Burst: 1 << 30, MaxWait: math.MaxInt64}.Validate())
	require.NoError(t, ratelimit.Config{Rate: math.SmallestNonzeroFloat64}.Validate())
}

// The error of the caller's context is the user's: it is asked with no lock held.
//
// Contract: 10
func TestErrorOfTheCallersContext(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 0.001, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		inner, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := l.Wait(curiousContext{inner, func() { l.Stats() }})
		require.ErrorIs(t, err, ratelimit.ErrLimited)
	})
}

type curiousContext struct {
	context.Context
	asks func()
}

func (c curiousContext) Err() error {
	if c.Context.Err() != nil {
		return curious(c.asks)
	}
	return nil
}

type curious func()

func (c curious) Error() string {
	c()
	return "curious"
}
