package bulkhead_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/bulkhead"
)

// A load is calls that come at random before work that takes a hundred milliseconds in the
// mean.
type load struct {
	limit    int
	times    float64                          // how much comes, in terms of what can be done
	deadline time.Duration                    // that each has
	kind     func(r *rand.Rand) time.Duration // how long a call takes that starts now
	deaf     bool                             // work goes on when its call's time is over
	lasts    time.Duration

	began time.Time
	ends  []time.Duration // since then, of those that were in time

	started int
	took    time.Duration // all of them together
}

const mean = 100 * time.Millisecond

func newLoad(limit int, times float64, kind func(*rand.Rand) time.Duration) *load {
	return &load{limit: limit, times: times, deadline: 10 * mean, kind: kind, lasts: 20 * time.Second}
}

// capacity is how many calls can be made that take what these took.
func (l *load) capacity() float64 {
	return float64(l.limit) * float64(l.lasts) * float64(l.started) / float64(l.took)
}

// goodIn is how many calls were in time between two times, in seconds.
func (l *load) goodIn(from, to int) (n int) {
	for _, end := range l.ends {
		if end >= time.Duration(from)*time.Second && end < time.Duration(to)*time.Second {
			n++
		}
	}
	return n
}

// run returns how many calls came, and how many of them were in time, at a bulkhead whose
// queue is as long as the calls have time to wait.
func (l *load) run(t *testing.T) (good, came int) {
	b := bulkhead.New(bulkhead.Config{Limit: l.limit, Queue: int(l.deadline/mean) * l.limit})
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // The same in each run.
	rate := l.times * float64(l.limit) / float64(mean)
	l.began = time.Now()
	var mu sync.Mutex
	for time.Since(l.began) < l.lasts {
		mu.Lock()
		pause := time.Duration(r.ExpFloat64() / rate)
		mu.Unlock()
		time.Sleep(pause)
		came++
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), l.deadline)
			defer cancel()
			err := b.Run(ctx, func(ctx context.Context) error {
				mu.Lock()
				took := l.kind(r)
				l.started++
				l.took += took
				mu.Unlock()
				if l.deaf {
					time.Sleep(took)
					return nil
				}
				select {
				case <-time.After(took):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err == nil && ctx.Err() == nil {
				mu.Lock()
				l.ends = append(l.ends, time.Since(l.began))
				mu.Unlock()
			}
		}()
		synctest.Wait() // so that the draws have one order
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	require.True(t, b.AtRest())
	return len(l.ends), came
}

// The kinds of work, each with the same mean.
var kinds = map[string]func(r *rand.Rand) time.Duration{
	"always the same": func(*rand.Rand) time.Duration { return mean },
	"a tenth more or less": func(r *rand.Rand) time.Duration {
		return time.Duration((0.9 + 0.2*r.Float64()) * float64(mean))
	},
	"exponential": func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) },
	"log-normal": func(r *rand.Rand) time.Duration {
		return time.Duration(math.Exp(r.NormFloat64()-0.5) * float64(mean))
	},
	"now and then none at all": func(r *rand.Rand) time.Duration {
		if r.IntN(10) == 0 {
			return 0
		}
		return mean * 10 / 9
	},
	"of two kinds": func(r *rand.Rand) time.Duration {
		if r.IntN(10) == 0 {
			return 5 * mean
		}
		return mean * 5 / 9
	},
}

// A queue of 100 before 10 permits, whose clients wait for as long as the queue is, started
// calls that could not end in time any more: 21 to 44 % of what was possible got done, and
// where work goes on after its call's time, next to nothing.
//
// Contract: 16
func TestOverloadWithDeadlines(t *testing.T) {
	for name, kind := range kinds {
		for _, load := range []struct {
			limit int
			times float64
			lasts time.Duration
		}{{1, 2.5, 100 * time.Second}, {10, 2.5, 20 * time.Second}, {10, 10, 10 * time.Second}} {
			for _, deaf := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d permits, %v times, deaf %v", name, load.limit, load.times, deaf), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newLoad(load.limit, load.times, kind)
						l.lasts, l.deaf = load.lasts, deaf
						good, _ := l.run(t)
						require.Greater(t, float64(good), 0.95*l.capacity())
					})
				})
			}
		}
	}
}

// Where no call has much more time than its work takes, a call is let in that has waited
// a little: those that came just now are too few to keep all permits in use.
//
// Contract: 16
func TestOverloadWithShortDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoad(10, 2.5, kinds["a tenth more or less"])
		l.deadline = 2 * mean
		good, _ := l.run(t)
		require.Greater(t, float64(good), 0.95*l.capacity())
	})
}

// Below capacity nobody is refused who would have made it.
//
// Contract: 16, 46
func TestBelowCapacityNobodyIsLate(t *testing.T) {
	for name, kind := range kinds {
		if name == "log-normal" { // some of that takes more than a second by itself
			continue
		}
		for _, times := range []float64{0.5, 0.9} {
			t.Run(fmt.Sprintf("%s, %v times", name, times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					good, came := newLoad(10, times, kind).run(t)
					require.Equal(t, came, good)
				})
			})
		}
	}
}

// Work becomes ten times as long for a while, longer than any call has time for, and short
// again: all is well a few seconds later. Nothing is learned for ever.
//
// Contract: 16
func TestWorkThatBecomesLongAndShortAgain(t *testing.T) {
	for name, long := range map[string]time.Duration{"a bit too long": 2 * mean, "nearly too long": 9 * mean, "much too long": 20 * mean} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deaf %v", name, deaf), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLoad(10, 1.5, nil)
					l.lasts, l.deaf = time.Minute, deaf
					l.kind = func(*rand.Rand) time.Duration {
						if at := time.Since(l.began); at > 20*time.Second && at < 40*time.Second {
							return long
						}
						return mean
					}
					l.run(t)
					const second = 100 // what can be done in one
					require.Greater(t, l.goodIn(0, 20), 20*second*95/100)
					if long < 10*mean {
						require.Greater(t, l.goodIn(23, 40), 17*second*85/100/int(long/mean), "as much as there can be")
					}
					require.Greater(t, l.goodIn(43, 60), 17*second*95/100)
				})
			})
		}
	}
}

// How long work takes was known only after nine grants: with work of a second, the first
// nine waiters of a queue started too late.
//
// Contract: 16
func TestLearnsFromTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Name: "mail", Limit: 1, Queue: 100})
		second := func(context.Context) error { time.Sleep(time.Second); return nil }
		require.Zero(t, b.Stats().Work)
		require.NoError(t, b.Run(t.Context(), second))
		require.Equal(t, time.Second, b.Stats().Work)

		go func() { _ = b.Run(context.Background(), second) }()
		synctest.Wait()
		began := time.Now()
		try := func(timeout time.Duration) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			err = b.Run(ctx, second)
			return time.Since(began), err
		}
		results := make(chan error, 2)
		go func() { // would have half a second at its turn
			took, err := try(1500 * time.Millisecond)
			if took != time.Second {
				t.Errorf("refused after %v", took)
			}
			results <- err
		}()
		synctest.Wait()
		go func() { // the next
			_, err := try(2 * time.Second)
			results <- err
		}()
		r := requireRefused(t, <-results)
		require.EqualError(t, r, "mail: bulkhead: full: too little time left to wait and to work")
		require.ErrorIs(t, r, bulkhead.ErrNoTime)
		require.NotErrorIs(t, r, context.DeadlineExceeded, "it has not passed")
		require.NoError(t, <-results, "its permit went to the next, who has just enough")

		// Who cannot end in time is not queued, once the queue has moved.
		for range 20 {
			go func() { _ = b.Run(context.Background(), second) }()
		}
		time.Sleep(time.Second + time.Millisecond)
		require.Equal(t, 18, b.Stats().Queued)
		began = time.Now()
		took, err := try(8 * time.Second)
		require.Equal(t, 9*time.Second, requireRefused(t, err).RetryAfter)
		require.Zero(t, took)
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// After one call of a queue that took no time, as an answer from a cache, none was timed any
// more until the queue was empty.
//
// Contract: 16
func TestWorkIsTimedAfterACallThatTookNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 8, Queue: 1000})
		require.NoError(t, b.Run(t.Context(), ok))
		for range 8 {
			pass := enter(t, b)
			time.AfterFunc(time.Second, func() { _ = pass.Done(errCall) })
		}
		for n := range 500 {
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error {
					if n > 0 {
						time.Sleep(time.Second)
					}
					return nil
				})
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		require.Positive(t, b.Stats().Queued)
		require.Equal(t, time.Second, b.Stats().Work)
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// Calls without a deadline are not concerned, and neither is one whose time was as short
// when it came.
//
// Contract: 16
func TestOnlyWhatWaitingCostsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		second := func(context.Context) error { time.Sleep(time.Second); return nil }
		for range 10 {
			require.NoError(t, b.Run(t.Context(), second))
		}
		pass := enter(t, b)
		time.AfterFunc(100*time.Millisecond, func() { _ = pass.Done(errCall) })
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		require.NoError(t, b.Run(ctx, ok), "the wait has not made it any more hopeless")

		pass = enter(t, b)
		time.AfterFunc(time.Hour, func() { _ = pass.Done(errCall) })
		require.NoError(t, b.Run(t.Context(), ok))
		require.Zero(t, b.Stats().Work, "an hour ago")
		requireIdle(t, b)
	})
}

// Every call that was in time was refused after one that stood still for two seconds: see
// TestNobodyIsRefusedForOneStall. That holds for the work as for the queue.
//
// Contract: 16
func TestOneStallOfWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoad(10, 0.9, nil)
		l.kind = func(*rand.Rand) time.Duration {
			at := time.Since(l.began)
			if at > 5*time.Second && at < 5100*time.Millisecond {
				return 700 * time.Millisecond
			}
			return mean / 2 // half of what it can
		}
		good, came := l.run(t)
		require.Equal(t, came, good)
	})
}
