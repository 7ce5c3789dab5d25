package results

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

// What a backend that refuses above its capacity gets from clients that throttle
// themselves by what it accepts.
func TestAdaptiveThrottling(t *testing.T) {
	t.Parallel()
	s := newSection(4, "Adaptive throttling")
	s.source(`Beyer et al. (eds.), Site Reliability Engineering, chapter 21,
		[Handling Overload](https://sre.google/sre-book/handling-overload/), O'Reilly 2016, Client-Side Throttling, equation 21-1.`)

	const capacity = 20.0
	ks := []float64{1.1, 1.5, 2}
	offers := []float64{0.5, 1, 1.5, 2, 5, 10}
	rows := [][]string{{"offered load", "no throttle"}}
	for _, k := range ks {
		rows[0] = append(rows[0], fmt.Sprintf("K = %g", k))
	}
	refusals := map[float64]float64{}
	for _, offered := range offers {
		sent, _ := overload(t, capacity, offered*capacity, 0)
		require.InEpsilon(t, offered, sent, 0.05, "without a throttle all that is offered is sent")
		cells := []string{fmt.Sprintf("%g", offered), fmt.Sprintf("%.2f", sent)}
		for _, k := range ks {
			sent, rejected := overload(t, capacity, offered*capacity, k)
			require.InEpsilon(t, min(offered, k), sent, 0.07, "K=%g at %g times the capacity", k, offered)
			refusals[k] = rejected // in the end, those at the highest load
			cells = append(cells, fmt.Sprintf("%.2f", sent))
		}
		rows = append(rows, cells)
	}
	require.InDelta(t, 1, refusals[2], 0.1)
	require.InDelta(t, 0.1, refusals[1.1], 0.05)

	s.para(`A client drops a call with the probability max(0, (requests − K·accepts) / (requests + 1)), both counted over the last two
		minutes. The throttle is in the test, the backend's capacity is a ratelimit.Limiter. What reaches the backend in the third
		and fourth minute, as a multiple of its capacity:`)
	s.table(rows...)
	s.para(`*Published*: a client throttles itself when it sends K times what is accepted. With K = 2, "even in large overload
		situations, backends end up rejecting one request for each request they actually process"; with K = 1.1, one for every 10
		accepted. *Ours*, at ten times the capacity: %.2f for each with K = 2, and %.1f for every 10 with K = 1.1. The load on the
		backend is the lesser of what is offered and K times the capacity, within 7 %%, which is what Poisson arrivals and a
		memory of two minutes vary by.`,
		refusals[2], 10*refusals[1.1])
	s.publish(t)
}

// overload offers calls for four minutes, and returns what reached the backend in
// the last two, as a multiple of its capacity, and how many it refused for each
// that it accepted. K = 0 throttles nothing.
func overload(t *testing.T, capacity, offered, k float64) (sent, rejected float64) {
	t.Helper()
	const warm, measured = 2 * time.Minute, 2 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(4, 4))
		backend := ratelimit.New(ratelimit.Config{Rate: capacity, Burst: int(capacity)})
		client := &throttle{k: k, random: random}
		accepts, refusals := 0, 0
		for began := time.Now(); ; {
			time.Sleep(time.Duration(random.ExpFloat64() / offered * float64(time.Second)))
			at := time.Since(began)
			if at > warm+measured {
				break
			}
			err := client.Run(t.Context(), func(ctx context.Context) error {
				return backend.Run(ctx, func(context.Context) error { return nil })
			})
			switch {
			case at < warm || errors.Is(err, errThrottled):
			case err == nil:
				accepts++
			default:
				refusals++
			}
		}
		sent = float64(accepts+refusals) / measured.Seconds() / capacity
		rejected = float64(refusals) / float64(accepts)
	})
	return sent, rejected
}

var errThrottled = errors.New("throttled")

// A throttle is the client of the book. It is for one goroutine.
type throttle struct {
	k        float64
	random   *rand.Rand
	requests []time.Time // of the last two minutes, those that were dropped too
	accepts  []time.Time
}

var _ stability.Policy = (*throttle)(nil)

// Run implements [stability.Policy].
func (t *throttle) Run(ctx context.Context, fn func(context.Context) error) error {
	now := time.Now()
	t.requests, t.accepts = recent(t.requests, now), recent(t.accepts, now)
	requests, accepts := float64(len(t.requests)), float64(len(t.accepts))
	t.requests = append(t.requests, now)
	if t.k > 0 && t.random.Float64() < (requests-t.k*accepts)/(requests+1) {
		return errThrottled
	}
	err := fn(ctx)
	if err == nil {
		t.accepts = append(t.accepts, now)
	}
	return err
}

// recent drops what is older than two minutes.
func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) > 2*time.Minute {
		times = times[1:]
	}
	return times
}
