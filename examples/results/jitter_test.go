package results

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/retry"
)

// Clients that update one row with optimistic locking, and what they do before they
// try again.
func TestJitter(t *testing.T) {
	t.Parallel()
	s := newSection(3, "Exponential backoff and jitter")
	s.source(`Brooker, [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), AWS
		Architecture Blog, 2015, and its [simulator](https://github.com/aws-samples/aws-arch-backoff-simulator).`)

	const runs = 20
	counts := []int{10, 25, 50, 75, 100}
	work, took := map[backoff][]float64{}, map[backoff][]float64{}
	for _, b := range backoffs {
		for _, clients := range counts {
			calls, elapsed := 0, time.Duration(0)
			for run := range runs {
				c, e := contend(t, clients, b, uint64(run))
				calls, elapsed = calls+c, elapsed+e
			}
			work[b] = append(work[b], float64(calls)/runs)
			took[b] = append(took[b], elapsed.Seconds()/runs)
		}
	}

	last := len(counts) - 1
	grown := math.Log(work[noBackoff][last]/work[noBackoff][2]) / math.Log(2)
	require.InDelta(t, 2, grown, 0.25, "without backoff the work grows as the square of the clients")
	require.Less(t, work[fullJitter][last], work[noJitter][last]/2, "more than half of the calls are saved")
	for _, b := range []backoff{fullJitter, equalJitter, decorrelated} {
		require.Less(t, work[b][last], work[noJitter][last], "%s: less work than without jitter", b)
		require.Less(t, took[b][last], took[noJitter][last], "%s: less time than without jitter", b)
	}
	require.InEpsilon(t, work[fullJitter][last], work[equalJitter][last], 0.15, "about the same")
	require.Greater(t, work[decorrelated][last], work[fullJitter][last])
	require.Greater(t, took[equalJitter][last], took[fullJitter][last])

	s.para(`Each client reads a row, writes it if nobody has written it since, and begins again after a pause otherwise: 5 ms, doubled
		with each failure, up to 2 s. A message takes 10 ms, with a deviation of 2 ms. Full jitter is the default of retry.Config;
		the others are its field Jitter. Writes, and the time until the last client is done, means of %d runs:`, runs)
	head := []string{"writes"}
	for _, clients := range counts {
		head = append(head, fmt.Sprintf("%d clients", clients))
	}
	writes, times := [][]string{head}, [][]string{append([]string{"time"}, head[1:]...)}
	for _, b := range backoffs {
		w, e := []string{string(b)}, []string{string(b)}
		for i := range counts {
			w, e = append(w, fmt.Sprintf("%.0f", work[b][i])), append(e, fmt.Sprintf("%.2f s", took[b][i]))
		}
		writes, times = append(writes, w), append(times, e)
	}
	s.table(writes...)
	s.table(times...)
	saved := 1 - work[fullJitter][last]/work[noJitter][last]
	s.para(`*Published* as plots, with these claims for 100 clients: jitter saves more than half of the calls of exponential backoff
		without it, which is the clear loser, in work and in time; full and equal jitter need about the same number of calls,
		decorrelated more; equal jitter takes much longer than full; and the work without backoff grows as N². *Ours*: full jitter
		saves %s; equal jitter makes %s more calls than full and takes %.1f times as long, decorrelated makes %s more; from 50 clients
		to 100 the work without backoff grows as N to the power %.1f. Tolerance: about the same is within 15 %%, N² is a power
		within 0.25 of 2.`, percent(saved), percent(work[equalJitter][last]/work[fullJitter][last]-1),
		took[equalJitter][last]/took[fullJitter][last], percent(work[decorrelated][last]/work[fullJitter][last]-1), grown)
	s.publish(t)
}

// A backoff is how long a client pauses before it tries again.
type backoff string

const (
	noBackoff    backoff = "no backoff"
	noJitter     backoff = "exponential, no jitter"
	equalJitter  backoff = "equal jitter"
	fullJitter   backoff = "full jitter"
	decorrelated backoff = "decorrelated jitter"
)

var backoffs = []backoff{noBackoff, noJitter, equalJitter, fullJitter, decorrelated}

// retry returns the policy of one client.
func (b backoff) retry(random *rand.Rand) *retry.Retry {
	const shortest, longest = 5 * time.Millisecond, 2 * time.Second
	between := func(from, to time.Duration) time.Duration {
		return from + time.Duration(random.Int64N(int64(to-from)+1))
	}
	cfg := retry.Config{Attempts: 100_000, Base: 2 * shortest, Max: longest, Budget: retry.Unlimited()}
	switch b {
	case noBackoff:
		cfg.Jitter = atOnce
	case noJitter:
		cfg.Jitter = func(longest time.Duration) time.Duration { return longest }
	case equalJitter:
		cfg.Jitter = func(longest time.Duration) time.Duration { return between(longest/2, longest) }
	case fullJitter:
		cfg.Jitter = func(longest time.Duration) time.Duration { return between(0, longest) }
	case decorrelated: // of the last pause, and of no other bound than the longest of all
		cfg.Base = longest
		last := shortest
		cfg.Jitter = func(longest time.Duration) time.Duration {
			last = min(longest, between(shortest, 3*last))
			return last
		}
	}
	return retry.New(cfg)
}

var errConflict = errors.New("the row has changed")

// contend has clients update one row, each once, and returns how often they wrote
// and how long it took until all had succeeded.
func contend(t *testing.T, clients int, b backoff, seed uint64) (writes int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		version := 0
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(client)))
				// A message arrives in a nanosecond of the client's own, so that the
				// order at the row does not depend on the scheduler.
				message := func() {
					const slot = time.Microsecond
					delay := time.Duration(math.Abs(10+2*random.NormFloat64()) * float64(time.Millisecond))
					at := time.Since(began) + delay
					time.Sleep(at.Truncate(slot) + slot + time.Duration(client) - time.Since(began))
				}
				err := b.retry(random).Run(t.Context(), func(context.Context) error {
					message()
					mu.Lock()
					read := version
					mu.Unlock()
					message()
					message()
					mu.Lock()
					writes++
					changed := read != version
					if !changed {
						version++
					}
					mu.Unlock()
					message()
					if changed {
						return errConflict
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		took = time.Since(began)
	})
	return writes, took
}
