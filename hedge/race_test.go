package hedge_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
)

// A body is a value that must be closed once, by whoever has it.
type body struct{ closed atomic.Int32 }

func (b *body) close() { b.closed.Add(1) }

// Both calls end at the same instant, ten thousand times: one value is returned
// intact, and every other one is disposed of once.
//
// Contract: 32, 45
func TestPhotoFinish(t *testing.T) {
	const races = 10_000
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: delay, Budget: retry.Unlimited()})
		var bodies, intact atomic.Int64
		var wg sync.WaitGroup
		for range races {
			wg.Go(func() {
				began := time.Now()
				var mu sync.Mutex
				var made []*body
				won, release, err := hedge.Open(t.Context(), h, func(context.Context) (*body, error) {
					b := new(body)
					mu.Lock()
					made = append(made, b)
					mu.Unlock()
					time.Sleep(time.Until(began.Add(2 * delay)))
					return b, nil
				}, (*body).close)
				defer release()
				if err != nil || won.closed.Load() != 0 {
					return
				}
				won.close()
				for _, b := range made {
					if b.closed.Load() != 1 {
						return
					}
				}
				intact.Add(1)
				bodies.Add(int64(len(made)))
			})
		}
		wg.Wait()
		require.EqualValues(t, races, intact.Load())
		require.EqualValues(t, 2*races, bodies.Load())
		require.EqualValues(t, races, h.Stats().Succeeded)
		require.EqualValues(t, races, h.Stats().Hedges)
	})
}

// The timer fires in the midst of the first call's return. A call that it still
// starts is canceled; these wait for that, and return a value all the same.
//
// Contract: 32, 44, 45
func TestTimerRacesWithTheReturn(t *testing.T) {
	defer goleak.VerifyNone(t)
	h := hedge.New(hedge.Config{Delay: time.Microsecond, Max: 4, Budget: retry.Unlimited()})
	var running, made, closed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				var first atomic.Bool
				b, err := hedge.Do(context.Background(), h, func(ctx context.Context) (*body, error) {
					running.Add(1)
					defer running.Add(-1)
					made.Add(1)
					if first.Swap(true) {
						<-ctx.Done()
					}
					return new(body), nil
				}, func(b *body) { b.close(); closed.Add(1) })
				if err != nil || b.closed.Load() != 0 {
					t.Error("the value that was returned is not intact", err)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, running.Load(), "no call runs after Do has returned")
	require.EqualValues(t, 16_000, made.Load()-closed.Load())
	require.Equal(t, made.Load()-16_000, h.Stats().Hedges)
}

// The reference plays a race on paper: calls start a delay apart while the race is
// on, and the earliest success ends it.
//
// Contract: 32, 44
func TestRaceAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(rt, "max")
		tokens := rapid.IntRange(1, 5).Draw(rt, "tokens")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			// Odd numbers against a delay of an even one, each call with a
			// remainder of its own: no two things happen at the same instant.
			s := step{after: time.Duration(1 + 100*rapid.IntRange(0, 40).Draw(rt, "after")), deaf: rapid.Bool().Draw(rt, "deaf")}
			if rapid.Bool().Draw(rt, "fails") {
				s.err = errCall
			}
			return s
		}), most, most).Draw(rt, "steps")
		for i := range steps {
			steps[i].after += time.Duration(i)
		}
		want := play(steps, 1000, tokens)
		var got string
		synctest.Test(t, func(t *testing.T) {
			h := hedge.New(hedge.Config{Delay: 1000, Max: most, Budget: retry.NewBudget(retry.BudgetConfig{
				Ratio: 1e-9, MinPerSecond: (float64(tokens) + .5) / 1000, Window: 1000 * time.Second,
			})})
			k := newTrack(steps...)
			v, err := hedge.Do(t.Context(), h, k.call, k.drop)
			got = fmt.Sprintf("value %d, error %v, took %d, started %d, dropped %v, spent %d",
				v, err, time.Since(k.began), len(k.started), k.dropped, h.Stats().Budget.Spent)
		})
		require.Equal(rt, want, got)
	})
}

func play(steps []step, delay time.Duration, tokens int) string {
	// When the race ends: at the first success, or when all that have started have
	// failed.
	started, winner := 1, 0
	var over time.Duration
	for {
		lastFailure, success := time.Duration(0), time.Duration(-1)
		for i := range started {
			at := time.Duration(i)*delay + steps[i].after
			switch {
			case steps[i].err != nil:
				lastFailure = max(lastFailure, at)
			case success < 0 || at < success:
				success, winner = at, i+1
			}
		}
		over = success
		if success < 0 {
			over, winner = lastFailure, 0
		}
		if started == len(steps) || started > tokens || time.Duration(started)*delay > over {
			break
		}
		started++
	}
	took := over
	var dropped []int
	for i := range started {
		at := time.Duration(i)*delay + steps[i].after
		if at > over && steps[i].deaf {
			took = max(took, at)
			if steps[i].err == nil {
				dropped = append(dropped, i+1)
			}
		}
	}
	v, err := winner, error(nil)
	if winner == 0 {
		v, err = 1, steps[0].err
	}
	return fmt.Sprintf("value %d, error %v, took %d, started %d, dropped %v, spent %d", v, err, took, started, dropped, started-1)
}
