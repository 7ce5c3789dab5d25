package stability_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// stack is all policies in some order, with what they have to say at rest.
type stack struct {
	policy    stability.Policy
	innermost func() int64 // how many calls the innermost policy let run, and has seen end
	breaker   *breaker.Breaker
	bulkhead  *bulkhead.Bulkhead
	limiter   *ratelimit.Limiter
	total     *timeout.Timeout
	attempt   *timeout.Timeout
	retry     *retry.Retry
}

func drawStack(rt *rapid.T) *stack {
	s := &stack{
		breaker: breaker.New(breaker.Config{
			Consecutive: rapid.IntRange(0, 3).Draw(rt, "Consecutive"),
			MinCalls:    5, Window: time.Second, OpenFor: 200 * time.Millisecond,
			Probes: rapid.IntRange(1, 3).Draw(rt, "Probes"), ProbeFor: 300 * time.Millisecond,
			RampFor: time.Duration(rapid.IntRange(0, 1).Draw(rt, "ramp")) * time.Second,
		}),
		bulkhead: bulkhead.New(bulkhead.Config{
			Limit: rapid.IntRange(1, 8).Draw(rt, "Limit"),
			Queue: rapid.IntRange(1, 8).Draw(rt, "Queue"), MaxWait: 100 * time.Millisecond,
		}),
		limiter: ratelimit.New(ratelimit.Config{Rate: 200, Burst: 20, MaxWait: 50 * time.Millisecond}),
		total:   timeout.New(timeout.Config{After: 2 * time.Second}),
		attempt: timeout.New(timeout.Config{After: 150 * time.Millisecond}),
		retry:   retry.New(retry.Config{Base: 10 * time.Millisecond, Max: 100 * time.Millisecond}),
	}
	order := rapid.Permutation([]stability.Policy{
		s.breaker, s.bulkhead, s.limiter, s.total, s.attempt, s.retry,
	}).Draw(rt, "order")
	s.policy = stability.Chain(order...)
	s.innermost = map[stability.Policy]func() int64{
		s.breaker:  func() int64 { return s.breaker.Stats().Started() },
		s.bulkhead: func() int64 { return s.bulkhead.Stats().Started() },
		s.limiter:  func() int64 { return s.limiter.Stats().Started() },
		s.total:    func() int64 { return s.total.Stats().Started() },
		s.attempt:  func() int64 { return s.attempt.Stats().Started() },
		s.retry:    func() int64 { return s.retry.Stats().Attempts },
	}[order[len(order)-1]]
	return s
}

// call runs one call that ends in one of the ways that calls end in.
func (s *stack) call(began *atomic.Int64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rand.IntN(4) == 0 {
		time.AfterFunc(rand.N(200*time.Millisecond), cancel)
	}
	defer func() {
		if r := recover(); r != nil && r != errCall { //nolint:errorlint // The panic's own value.
			panic(r)
		}
	}()
	_, _ = stability.Do(ctx, s.policy, func(ctx context.Context) (int, error) {
		began.Add(1)
		time.Sleep(rand.N(50 * time.Millisecond))
		switch rand.IntN(8) {
		case 0:
			panic(errCall)
		case 1:
			runtime.Goexit()
		case 2:
			<-ctx.Done() // a hang that its context ends
			return 0, ctx.Err()
		case 3:
			time.Sleep(rand.N(time.Second)) // one that nothing ends
		case 4, 5:
			return 0, errCall
		}
		return 1, nil
	})
}

func (s *stack) requireAtRest(t require.TestingT, began int64) {
	require.Zero(t, s.bulkhead.Stats().InUse)
	require.Zero(t, s.bulkhead.Stats().Queued)
	require.Zero(t, s.breaker.Stats().Probing)
	require.Zero(t, s.limiter.Stats().Queued)
	require.Positive(t, began)
	require.Equal(t, began, s.innermost(), "started = succeeded + failed + ignored")
}

// Contract: 44, 45
func TestAnyStackGivesEverythingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ *testing.T }{t}, func(rt *rapid.T) {
			s := drawStack(rt)
			var began atomic.Int64
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					for range 5 {
						done := make(chan struct{})
						go func() { // which a Goexit ends
							defer close(done)
							s.call(&began)
						}()
						<-done
						time.Sleep(rand.N(100 * time.Millisecond))
					}
				})
			}
			wg.Wait()
			s.requireAtRest(rt, began.Load())
			time.Sleep(time.Minute) // windows, open times and leases pass
			require.Equal(rt, s.bulkhead.Stats().Limit, func() (free int) {
				var passes []*stability.Pass
				for {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					pass, err := s.bulkhead.Enter(ctx)
					cancel()
					if err != nil {
						break
					}
					passes = append(passes, pass)
				}
				for _, p := range passes {
					_ = p.Done(nil)
				}
				return len(passes)
			}(), "every permit can be had")
			for range 50 { // through half-open and the ramp
				_ = s.breaker.Run(t.Context(), func(context.Context) error { return nil })
				time.Sleep(50 * time.Millisecond)
			}
			require.Equal(rt, breaker.Closed, s.breaker.State())
		})
	})
}
