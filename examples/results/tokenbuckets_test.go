package results

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/retry"
)

// Retries against failure rate: none, three, as many as a budget pays for, and three
// while a breaker that every client has for itself sees few failures.
func TestTokenBuckets(t *testing.T) {
	t.Parallel()
	s := newSection(2, "Retries with token buckets")
	s.source(`Brooker, [Fixing retries with token buckets and circuit breakers](https://brooker.co.za/blog/2022/02/28/retries.html),
		2022, and its [retry_sim](https://github.com/mbrooker/simulator_example/tree/main/retry_sim).`)

	policies := []retries{none, three, bucket, broken}
	s.para(`100 clients start 10 calls a second each, for 10 s; a call fails with the probability on the left. The bucket is
		a retry.Budget with a ratio of 10 %% and 5 retries besides; the breaker is a breaker.Breaker that only observes, opens at
		10 %% from the first call on, and stops retries, not calls. Each client has its own. Success, and load on the server for
		each call:`)
	rows := [][]string{{"failures"}}
	for _, p := range policies {
		rows[0] = append(rows[0], string(p))
	}
	for _, rate := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1} {
		cells := []string{fmt.Sprintf("%.0f %%", 100*rate)}
		got := map[retries]outcome{}
		for _, p := range policies {
			o := callFor10s(t, 100, 10, rate, p)
			if p == broken {
				require.Equal(t, o, callFor10s(t, 100, 10, rate, p), "the same seed gives the same run")
			}
			got[p] = o
			cells = append(cells, fmt.Sprintf("%.1f %% × %.2f", 100*o.success, o.load))
		}
		rows = append(rows, cells)

		const tolerance = 0.015 // of 10⁴ calls
		require.InDelta(t, 1-rate, got[none].success, tolerance)
		require.Equal(t, 1.0, got[none].load)
		require.InDelta(t, 1-math.Pow(rate, 4), got[three].success, tolerance)
		require.InDelta(t, 1+rate+rate*rate+rate*rate*rate, got[three].load, 2*tolerance)
		switch {
		case rate <= 0.02: // "very similar to three retries"
			require.InDelta(t, got[three].load, got[bucket].load, 0.002)
		case rate >= 0.2: // "some percent retries"
			require.InDelta(t, 1.15, got[bucket].load, 0.011)
			require.InDelta(t, got[none].load, got[broken].load, 0.02)
			require.InDelta(t, got[none].success, got[broken].success, tolerance)
		}
		if rate == 0.05 { // "around half the expected rate"
			require.Less(t, got[broken].load, 1+0.8*(got[three].load-1))
		}
	}
	s.table(rows...)

	s.para(`The same 1000 calls a second, of which 20 %% fail, from fewer and from more clients:`)
	rows = [][]string{{"clients", string(bucket), string(broken), string(later)}}
	loads := map[retries][]float64{}
	for _, clients := range []int{10, 100, 1000} {
		cells := []string{fmt.Sprint(clients)}
		for _, p := range []retries{bucket, broken, later} {
			o := callFor10s(t, clients, 1000/float64(clients), 0.2, p)
			loads[p] = append(loads[p], o.load)
			cells = append(cells, fmt.Sprintf("%.1f %% × %.2f", 100*o.success, o.load))
		}
		rows = append(rows, cells)
	}
	require.IsIncreasing(t, loads[bucket], "the more clients, the nearer the bucket is to three retries")
	require.InDelta(t, 1.25, loads[bucket][2], 0.03)
	require.InDelta(t, 1, loads[broken][2], 0.01, "the breaker is like no retries")
	require.Greater(t, loads[later][2], 1.1, "or like three retries, when it wants more calls than a client makes")
	s.table(rows...)
	s.para(`*Published* as plots, with these claims. No retries: success falls linearly, and the load stays 1. Three retries: the best
		success, and up to 1+N times the load. The bucket is like three retries far below 10 %% and like 0.1 retries far above. The
		breaker matches no retries above its threshold, and trips early, at around half of it. With more clients the bucket comes
		nearer to N retries, and the breaker to none.`)
	s.para(`*Ours* agree, within 1.5 points of success, with four differences. The text has the failure rate of N retries as x to the
		power N; it is N+1, as there are N+1 tries. The simulator's bucket is filled once with 5 tokens, while the budget pays for 5
		retries in every window of 10 s: at 100 clients, of 10 calls a second each, its far end is 1.15 instead of 1.1 for good.
		The simulator's breaker retries again as soon as the ratio falls, ours stays open for the run, so it trips earlier
		still, and at 20 %% has done so with 10 clients already. And the breaker can err to the other side: MinCalls, which is 20 by
		default, keeps a small client's breaker from tripping on its first failure, and with 1000 clients of ten calls each it never
		trips in time.`)
	s.publish(t)
}

// retries says how a client retries.
type retries string

const (
	none   retries = "no retries"
	three  retries = "three retries"
	bucket retries = "token bucket"
	broken retries = "retry breaker"
	later  retries = "retry breaker, MinCalls 10"
)

// newClient returns how a client calls fn, once or more often.
func (r retries) newClient() func(ctx context.Context, fn func(context.Context) error) error {
	cfg := retry.Config{Attempts: 4, Jitter: atOnce, Budget: retry.Unlimited()}
	switch r {
	case none:
		cfg.Attempts = 1
	case bucket:
		cfg.Budget = retry.NewBudget(retry.BudgetConfig{Ratio: 0.1, MinPerSecond: 0.5})
	case broken, later:
		calls := 1
		if r == later {
			calls = 10
		}
		b := breaker.New(breaker.Config{FailureRatio: 0.1, MinCalls: calls, OpenFor: time.Hour, Observe: true})
		cfg.Retryable = func(error) bool { return b.State() == breaker.Closed }
		again := retry.New(cfg)
		return func(ctx context.Context, fn func(context.Context) error) error {
			return again.Run(ctx, func(ctx context.Context) error { return b.Run(ctx, fn) })
		}
	}
	return retry.New(cfg).Run
}

// An outcome is the share of the calls that succeeded, and how many attempts
// reached the server for each.
type outcome struct{ success, load float64 }

var errFailed = errors.New("failed")

// callFor10s has clients call for ten seconds, each with the given rate, in a
// bubble, and fails attempts with the given probability.
func callFor10s(t *testing.T, clients int, perSecond, failures float64, how retries) outcome {
	t.Helper()
	var calls, successes, attempts atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range clients {
			run := how.newClient()
			wg.Go(func() {
				random := rand.New(rand.NewPCG(2, uint64(i)))
				for end := time.Now().Add(10 * time.Second); ; {
					time.Sleep(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
					if time.Now().After(end) {
						return
					}
					calls.Add(1)
					if run(t.Context(), func(context.Context) error {
						attempts.Add(1)
						if random.Float64() < failures {
							return errFailed
						}
						return nil
					}) == nil {
						successes.Add(1)
					}
				}
			})
		}
		wg.Wait()
	})
	n := float64(calls.Load())
	return outcome{success: float64(successes.Load()) / n, load: float64(attempts.Load()) / n}
}
