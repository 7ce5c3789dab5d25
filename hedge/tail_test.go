package hedge_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/hedge"
)

// The Tail at Scale (Dean and Barroso, CACM 56(2), 2013) describes requests that
// fan out to many servers, of which each is slow now and then: with 100 servers
// that are slow once in a hundred, 63 of 100 requests wait for a slow one. The
// paper's own measure: reading 1,000 keys from a BigTable table spread over 100
// servers, a second request after 10 ms takes the 99.9th percentile from 1,800 ms
// to 74 ms for 2 % more requests.
//
// The model: a request calls 100 servers at the same time and ends when all have
// answered. A call takes from 5 to 15 ms, evenly, or one time in a hundred, and
// independently of the others, 1 s. A call that is canceled ends at once, and
// costs what it costs. Hedges are sent after 20 ms, longer than any call that is
// not slow takes, and up to two of them: a single one would be slow itself once in
// 10⁴ calls, which is one in a hundred requests.
//
// Contract: 32
func TestTailAtScale(t *testing.T) {
	const requests, servers = 500, 100
	latency := func(request, server, try int) time.Duration {
		r := rand.New(rand.NewPCG(uint64(request), uint64(server*10+try)))
		if r.Float64() < 0.01 {
			return time.Second
		}
		return 5*time.Millisecond + rand.N(10*time.Millisecond)
	}
	run := func(h *hedge.Hedge) (p50, p99 time.Duration, calls int64) {
		var n atomic.Int64
		var took []time.Duration
		synctest.Test(t, func(t *testing.T) {
			for request := range requests {
				began := time.Now()
				var wg sync.WaitGroup
				for server := range servers {
					wg.Go(func() {
						var tries atomic.Int64
						_, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
							n.Add(1)
							slow := time.NewTimer(latency(request, server, int(tries.Add(1))))
							defer slow.Stop()
							select {
							case <-slow.C:
								return 0, nil
							case <-ctx.Done():
								return 0, ctx.Err()
							}
						})
						if err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				took = append(took, time.Since(began))
			}
		})
		slices.Sort(took)
		return took[requests/2], took[requests*99/100], n.Load()
	}

	p50, p99, calls := run(nil)
	require.EqualValues(t, requests*servers, calls)
	require.Equal(t, time.Second, p50, "63 of 100 requests meet a slow server")
	require.Equal(t, time.Second, p99)

	for name, cfg := range map[string]hedge.Config{
		"delay":      {Delay: 20 * time.Millisecond, Max: 3},
		"percentile": {Percentile: 0.985, MaxDelay: 100 * time.Millisecond, Max: 3},
	} {
		t.Run(name, func(t *testing.T) {
			_, hedged, calls := run(hedge.New(cfg))
			extra := float64(calls)/(requests*servers) - 1
			t.Logf("p99 %v instead of %v for %.2f %% more calls", hedged, p99, 100*extra)
			require.LessOrEqual(t, 10*hedged, p99)
			require.LessOrEqual(t, extra, 0.02)
		})
	}
}
