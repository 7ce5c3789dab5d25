package bulkhead_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// Contract: 15
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 100
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: waiters})
		pass := enter(t, b)
		var order []int
		for n := range waiters {
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error { order = append(order, n); return nil })
			}()
			synctest.Wait()
			require.Equal(t, n+1, b.Stats().Queued)
		}
		require.NoError(t, pass.Done(nil))
		synctest.Wait()
		require.Len(t, order, waiters)
		require.IsIncreasing(t, order)
		requireIdle(t, b)
	})
}

// Nobody overtakes the queue: not even a call that comes between the return of a
// permit and its grant.
//
// Contract: 15
func TestNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 10})
		enter(t, b) // its permit comes back by halves
		first, late := make(chan *stability.Pass, 1), make(chan *stability.Pass, 1)
		go func() { p, _ := b.Enter(t.Context()); first <- p }()
		synctest.Wait()
		rest := b.ReleaseHalfway()
		go func() { p, _ := b.Enter(t.Context()); late <- p }()
		synctest.Wait()
		require.Empty(t, late)
		require.Equal(t, 2, b.Stats().Queued)
		rest()
		synctest.Wait()
		require.Len(t, first, 1)
		require.Empty(t, late)
		require.NoError(t, (<-first).Done(nil))
		require.NoError(t, (<-late).Done(nil))
		requireIdle(t, b)
	})
}

// Contract: 16
func TestQueueBoundIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, queue, callers = 5, 1000, 10_000
		b := bulkhead.New(bulkhead.Config{Limit: limit, Queue: queue})
		release := make(chan struct{})
		var refused int
		var mu sync.Mutex
		for range callers {
			go func() {
				err := b.Run(context.Background(), func(context.Context) error { <-release; return nil })
				if err != nil {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			}()
		}
		synctest.Wait()
		require.Equal(t, bulkhead.Stats{
			Calls: stability.Calls{Rejected: callers - limit - queue},
			Limit: limit, InUse: limit, Queued: queue, QueueLimit: queue,
		}, b.Stats())
		close(release)
		synctest.Wait()
		require.Equal(t, callers-limit-queue, refused)
		require.EqualValues(t, limit+queue, b.Stats().Succeeded)
		requireIdle(t, b)
	})
}

// Contract: 16
func TestWithoutQueueNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1})
		pass := enter(t, b)
		defer func() { _ = pass.Done(nil) }()
		began := time.Now()
		for range 1000 {
			requireRefused(t, b.Run(t.Context(), ok))
		}
		require.Zero(t, time.Since(began))
	})
}

// Contract: 15
func TestWaitEnds(t *testing.T) {
	tests := map[string]struct {
		maxWait, deadline, cancel time.Duration // 0: none
		want                      time.Duration
		cause                     error // nil: MaxWait
	}{
		"by MaxWait":                 {maxWait: time.Second, want: time.Second},
		"by MaxWait before deadline": {maxWait: time.Second, deadline: time.Minute, want: time.Second},
		"by the deadline":            {deadline: time.Second, want: time.Second, cause: context.DeadlineExceeded},
		"by deadline before MaxWait": {maxWait: time.Minute, deadline: time.Second, want: time.Second, cause: context.DeadlineExceeded},
		"by the caller":              {cancel: time.Second, want: time.Second, cause: context.Canceled},
		"by caller before MaxWait":   {maxWait: time.Minute, cancel: time.Second, want: time.Second, cause: context.Canceled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1, MaxWait: test.maxWait})
				pass := enter(t, b)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				errs := make(chan error, 1)
				began := time.Now()
				go func() { errs <- b.Run(ctx, ok) }()
				synctest.Wait()
				require.Equal(t, 1, b.Stats().Queued)

				r := requireRefused(t, <-errs)
				require.Equal(t, test.want, time.Since(began))
				for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
					if cause == test.cause {
						require.ErrorIs(t, r, cause)
					} else {
						require.NotErrorIs(t, r, cause)
					}
				}
				require.Zero(t, b.Stats().Queued, "the queue shows that it left")
				require.NoError(t, pass.Done(nil))
				requireIdle(t, b)
			})
		})
	}
}

// A context whose deadline has passed, and whose timer has not fired yet, is not
// queued.
//
// Contract: 16
func TestPassedDeadlineIsNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		pass := enter(t, b)
		ctx := lateContext{t.Context(), time.Now()}
		r := requireRefused(t, b.Run(ctx, ok))
		require.ErrorIs(t, r, context.DeadlineExceeded)
		require.NoError(t, pass.Done(nil))
		requireIdle(t, b)
	})
}

// lateContext has a deadline and no end.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// A queue that moves by one a second refuses who has less time than the queue before
// it needs at twice that speed, says how long that is, and lets others wait.
//
// Contract: 16
func TestRefusesWhoCannotStartInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 40
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		second := func(context.Context) error { time.Sleep(time.Second); return nil }
		for range 1 + waiters {
			go func() { _ = b.Run(context.Background(), second) }()
		}
		time.Sleep(20*time.Second + time.Millisecond)
		queued := b.Stats().Queued
		require.Equal(t, waiters-20, queued)

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		r := requireRefused(t, b.Run(ctx, ok))
		require.Zero(t, time.Since(began), "at once")
		require.Equal(t, time.Duration(queued+1)*time.Second/2, r.RetryAfter)
		require.Equal(t, r.RetryAfter, stability.RetryAfter(r))
		require.NotErrorIs(t, r, context.DeadlineExceeded, "it has not passed")

		long, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, b.Run(long, ok))
		require.NoError(t, b.Run(t.Context(), ok))
		requireIdle(t, b)

		// What the queue did once says nothing about the next one.
		pass := enter(t, b)
		go func() { _ = b.Run(context.Background(), ok) }()
		synctest.Wait()
		time.AfterFunc(time.Millisecond, func() { _ = pass.Done(nil) })
		short, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		require.NoError(t, b.Run(short, ok))
		requireIdle(t, b)
	})
}

// Every grant of a slow queue is timed: how it has moved lately tells, and not one call
// that took long.
//
// Contract: 16
func TestSlowQueueIsTimedAtEveryGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		for n := range 40 {
			took := time.Second
			if n == 12 || n >= 16 {
				took = 9 * time.Second
			}
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error { time.Sleep(took); return nil })
			}()
			synctest.Wait()
		}
		wait := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return requireRefused(t, b.Run(ctx, ok)).RetryAfter
		}
		time.Sleep(21*time.Second + time.Millisecond) // thirteen have ended
		require.Equal(t, 26, b.Stats().Queued)
		require.Equal(t, 27*time.Second/2, wait(), "half of a second each")
		time.Sleep(3*time.Second + 4*9*time.Second) // twenty
		require.Equal(t, 19, b.Stats().Queued)
		require.Greater(t, wait(), 20*3*time.Second, "four of seven took nine seconds")
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// The dependency answers a call a millisecond, and stands still once for two seconds.
// Fifty wait all the time: who comes afterwards waits for less than 100 ms, and none
// of those who have a second is refused.
//
// Contract: 16
func TestNobodyIsRefusedForOneStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 10, Queue: 1000})
		answers := make(chan struct{})
		go func() {
			defer close(answers)
			for n := range 500 {
				time.Sleep(time.Millisecond)
				if n == 200 {
					time.Sleep(2 * time.Second)
				}
				answers <- struct{}{}
			}
		}()
		for range 60 { // patient, and back at once
			go func() {
				for open := true; open; {
					_ = b.Run(context.Background(), func(context.Context) error { _, open = <-answers; return nil })
				}
			}()
		}
		time.Sleep(2200 * time.Millisecond) // just before it moves again
		for range 40 {
			time.Sleep(time.Millisecond)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := b.Run(ctx, func(context.Context) error { <-answers; return nil }); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(5 * time.Second)
		requireIdle(t, b)
	})
}

// Calls that started together end together: ten permits come at once, and then none for
// a second. That is no stall, and a queue of forty seconds all the same.
//
// Contract: 16
func TestCallsInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 10, Queue: 1000})
		for range 510 {
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error { time.Sleep(time.Second); return nil })
			}()
		}
		time.Sleep(10*time.Second + 500*time.Millisecond) // four hundred wait
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			requireRefused(t, b.Run(ctx, ok))
			require.Zero(t, time.Since(began), "at once")
			cancel()
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// A permit that comes back just as a call queues is that call's.
//
// Contract: 14, 15
func TestPermitReturnsAsACallQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		enter(t, b)
		errs := make(chan error, 1)
		go func() { errs <- b.Run(t.Context(), ok) }()
		synctest.Wait()
		b.ReleaseLate()
		synctest.Wait()
		require.Len(t, errs, 1)
		require.NoError(t, <-errs)
		require.EqualValues(t, 2, b.Stats().Succeeded)
		requireIdle(t, b)
	})
}

// A call that is granted a permit as its context ends, and comes to see it when
// others have begun to queue anew, gives the permit to them and takes nobody's place
// along.
//
// Contract: 14, 15
func TestGrantOfAnEarlierQueue(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // whoever was woken runs later
	for range 100 {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		pass := enter(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx, ok) })
		for b.Stats().Queued == 0 {
			runtime.Gosched()
		}
		cancel()
		require.NoError(t, pass.Done(nil))
		wg.Go(func() {
			if err := b.Run(t.Context(), ok); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		requireIdle(t, b)
	}
}

// Of a queue that moves fast not every grant is timed; one that turns slow is noticed
// all the same.
//
// Contract: 16
func TestFastQueueThatTurnsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fast, slow = 40, 40
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		for n := range fast + slow {
			took := time.Microsecond
			if n >= fast {
				took = time.Second
			}
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error { time.Sleep(took); return nil })
			}()
			synctest.Wait()
		}
		try := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return b.Run(ctx, ok)
		}
		time.Sleep(fast * time.Microsecond)
		require.ErrorIs(t, try(), context.DeadlineExceeded, "it waited: the queue was fast until now")
		time.Sleep(9 * time.Second)
		began, queued := time.Now(), b.Stats().Queued
		r := requireRefused(t, try())
		require.Zero(t, time.Since(began), "at once")
		require.Greater(t, r.RetryAfter, 2*time.Second)
		require.Less(t, r.RetryAfter, time.Duration(queued+1)*time.Second, "sooner than it will be")
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// A wait allocates nothing but the mark of its call and, now and then, what all who wait
// share.
func TestWaitsAllocateLittle(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
	const callers, each = 8, 2000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = ctx.Done() // made once, when somebody asks
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				_ = b.Run(ctx, yield)
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	require.Less(t, after.Mallocs-before.Mallocs, uint64(callers*each*3/2))
	requireIdle(t, b)
}

// MaxWait bounds the wait as a deadline does.
//
// Contract: 16
func TestRefusesWhoCannotStartWithinMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100, MaxWait: 30 * time.Second})
		second := func(context.Context) error { time.Sleep(time.Second); return nil }
		for range 21 {
			go func() { _ = b.Run(context.Background(), second) }()
		}
		time.Sleep(10*time.Second + time.Millisecond)
		for range 80 {
			go func() { _ = b.Run(context.Background(), second) }()
		}
		synctest.Wait()
		require.Equal(t, 60, b.Stats().Queued, "the sixty-first would start after half a minute at the earliest")
		require.Positive(t, b.Stats().Rejected)
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// A waiter who is granted a permit just as its context ends does not start, and the
// permit goes to the next.
//
// Contract: 14, 15
func TestGrantAfterCancel(t *testing.T) {
	for range 500 {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 2})
		pass := enter(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var waiters sync.WaitGroup
		var canceled, next error
		started := false
		waiters.Go(func() {
			canceled = b.Run(ctx, func(context.Context) error { started = true; return nil })
		})
		waiters.Go(func() { next = b.Run(t.Context(), ok) })
		waiters.Go(cancel)
		require.NoError(t, pass.Done(nil))
		waiters.Wait()
		require.NoError(t, next)
		if canceled == nil {
			require.True(t, started)
		} else {
			require.ErrorIs(t, canceled, context.Canceled)
			require.False(t, started)
		}
		requireIdle(t, b)
	}
}

// Where the context ends after the grant and before the waiter has seen it, the call
// does not start all the same.
//
// Contract: 14, 15
func TestCancelAfterGrant(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the waiter cannot run in between
	refused := 0
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
			pass := enter(t, b)
			ctx, cancel := context.WithCancel(t.Context())
			errs := make(chan error, 1)
			go func() { errs <- b.Run(ctx, ok) }()
			synctest.Wait()
			require.NoError(t, pass.Done(nil))
			cancel()
			if err := <-errs; err != nil {
				require.ErrorIs(t, requireRefused(t, err), context.Canceled)
				refused++
			}
			requireIdle(t, b)
		})
	}
	require.Positive(t, refused)
}

// Fifty thousand waiters leave at once; fewer under the race detector.
//
// Contract: 15, 45
func TestManyWaitersCancelledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = manyWaiters
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: waiters, MaxWait: time.Hour})
		pass := enter(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() {
				if err := b.Run(ctx, ok); !stability.Rejected(err) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		require.Equal(t, waiters, b.Stats().Queued)
		cancel()
		wg.Wait()
		require.Zero(t, b.Stats().Queued)
		require.Equal(t, stability.Calls{Rejected: waiters}, b.Stats().Calls)
		require.NoError(t, pass.Done(nil))
		requireIdle(t, b)
	})
}

// A breaker outside does not take a call for a failure that was never sent because
// its deadline passed in the queue.
func TestWaitedOutIsIgnoredOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		pass := enter(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Run(ctx, ok)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, stability.Ignored, stability.Classify(t.Context(), err))
		require.NoError(t, pass.Done(nil))
	})
}
