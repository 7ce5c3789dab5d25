package ratelimit

import (
	"context"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

func upTo(rnd *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(d)))
}

// 512 goroutines, many of them with readings of the clock that are up to 10 ms old,
// through leases, the lock and the queue. Each grant has its instant; over any
// span between two of them no more than rate·t + burst are granted, which is what a
// bucket in exact arithmetic that is full at first says of the whole sequence.
//
// Contract: 23
func TestAnySpanWithStaleReadings(t *testing.T) {
	for _, burst := range []int{1, 20, 300, 5000} {
		synctest.Test(t, func(t *testing.T) {
			const goroutines, perSecond = 512, 20_000
			l := New(Config{Rate: perSecond, Burst: burst})
			var mu sync.Mutex
			var grants []time.Duration
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(g), 0))
					for range 40 {
						now := l.now()
						var granted bool
						switch rnd.IntN(8) {
						case 0:
							ctx, cancel := context.WithTimeout(t.Context(), upTo(rnd, 20*time.Millisecond)+1)
							granted = l.Wait(ctx) == nil
							cancel()
							now = l.now()
						case 1, 2, 3:
							l.mu.Lock()
							l.bucket.advance(now - upTo(rnd, 10*time.Millisecond))
							l.mu.Unlock()
							granted = l.try(1)
						default:
							granted = l.Allow()
						}
						if granted {
							mu.Lock()
							grants = append(grants, now)
							mu.Unlock()
						}
						if rnd.IntN(3) == 0 {
							time.Sleep(upTo(rnd, 5*time.Millisecond))
						}
					}
				})
			}
			wg.Wait()
			require.Greater(t, len(grants), burst)
			slices.Sort(grants)
			exact := newReference(perSecond, burst)
			least := new(big.Rat).Sub(whole(1), rounding)
			for _, at := range grants {
				exact.advance(at)
				require.True(t, exact.has(least), "granted with %s tokens", exact.tokens.FloatString(9))
				exact.tokens.Sub(exact.tokens, whole(1))
			}
		})
	}
}

// The same with the real clock, where goroutines are held up anywhere: the whole run
// is one span.
//
// Contract: 23
func TestWholeRunWithTheRealClock(t *testing.T) {
	const goroutines, each, perSecond, burst = 512, 500, 1e5, 10_000
	began := time.Now()
	l := New(Config{Rate: perSecond, Burst: burst})
	var granted [goroutines]int
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				if i%8 == 0 && l.AllowN(2) {
					granted[g] += 2
				} else if l.Allow() {
					granted[g]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range granted {
		sum += n
	}
	// What is still lent was taken, and is taken back here.
	tokens := l.Stats().Tokens
	bound := perSecond*time.Since(began).Seconds() + burst
	require.LessOrEqual(t, float64(sum)+tokens, bound+.001, "granted and left over")
	require.GreaterOrEqual(t, sum, burst-maxLease)
}

// A grant and a cancellation meet: the tokens are in the bucket again, and the call
// does not start.
//
// Contract: 24
func TestGrantMeetsCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 1, Burst: 5})
		require.True(t, l.AllowN(5))
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = l.WaitN(ctx, 4) })
		synctest.Wait()
		time.Sleep(4*time.Second - 1)

		l.mu.Lock() // keeps the waiter, which wakes up for its ctx, from leaving first
		cancel()
		l.bucket.advance(4 * time.Second)
		l.serve()
		require.Zero(t, l.queue.len, "served")
		l.mu.Unlock()
		wg.Wait()
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrLimited)
		require.InDelta(t, 4, l.Stats().Tokens, 1e-6)
		require.True(t, l.AllowN(4))
		time.Sleep(time.Minute)
		require.True(t, l.AllowN(5), "the bucket holds what it held before")
		require.False(t, l.Allow())
	})
}

// Any mixture of waits, cancellations and changes leaves no waiter, no alarm and no
// token too many.
//
// Contract: 24, 44
func TestAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst = 50
		l := New(Config{Rate: 1000, Burst: burst, MaxWait: 50 * time.Millisecond})
		var wg sync.WaitGroup
		for g := range 200 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				for range 50 {
					ctx, cancel := context.WithCancel(t.Context())
					stop := time.AfterFunc(upTo(rnd, 20*time.Millisecond), cancel)
					switch rnd.IntN(8) {
					case 0:
						_ = l.SetRate(500 + 1000*rnd.Float64())
					case 1:
						_ = l.SetBurst(1 + rnd.IntN(2*burst))
					case 2:
						_ = l.WaitN(ctx, 1+rnd.IntN(burst))
					case 3:
						l.AllowN(rnd.IntN(burst))
					case 4:
						_ = l.Reconfigure(Config{Rate: 500 + 1000*rnd.Float64(), Burst: 1 + rnd.IntN(2*burst), MaxWait: upTo(rnd, 50*time.Millisecond)})
					case 5:
						_ = l.SetMode(stability.Mode(rnd.IntN(4)))
					default:
						_ = l.Run(ctx, func(context.Context) error { return nil })
					}
					stop.Stop()
					cancel()
					time.Sleep(upTo(rnd, time.Millisecond))
				}
			})
		}
		wg.Wait()
		require.NoError(t, l.SetMode(stability.ModeOn))
		require.NoError(t, l.Reconfigure(Config{Rate: 1000, Burst: burst}))
		time.Sleep(time.Second)
		s := l.Stats()
		require.Zero(t, s.Queued)
		require.InDelta(t, burst, s.Tokens, 0)
		require.Zero(t, l.queue.demand)
		require.Nil(t, l.queue.tail)
		require.Zero(t, l.bucket.lent)
		require.False(t, l.alarm.isSet())
	})
}

// The alarm goes off once for each waiter whose tokens come on their own, and not at
// all for those that are not due: it does not spin.
func TestAlarmDoesNotSpin(t *testing.T) {
	for _, rate := range []float64{1e-3, 1.0 / 3, 3, 7.77, 1e3 / 7, 1e9 / 7} {
		synctest.Test(t, func(t *testing.T) {
			l := New(Config{Rate: rate, Burst: 1})
			require.True(t, l.Allow())
			rings := 0
			l.alarm = &alarm{ring: func() { rings++; l.ring() }}
			var wg sync.WaitGroup
			const waiters = 100
			for range waiters {
				wg.Go(func() { require.NoError(t, l.Wait(t.Context())) })
			}
			wg.Wait()
			require.LessOrEqual(t, rings, waiters)
		})
	}
}

// Where tokens do not come when they were due, as when the alarms of those who wait
// before are late, a wait ends all the same, and those behind move up.
//
// Contract: 25
func TestWaitEndsWithMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 10, Burst: 1, MaxWait: 200 * time.Millisecond})
		require.True(t, l.Allow())
		began := time.Now()
		waits := func(wait func() error) <-chan error {
			ended := make(chan error, 1)
			go func() { ended <- wait() }()
			synctest.Wait()
			return ended
		}
		first := waits(func() error { return l.Run(t.Context(), func(context.Context) error { return nil }) })
		second := waits(func() error { return l.Wait(t.Context()) })
		time.Sleep(90 * time.Millisecond)
		l.mu.Lock()
		l.enter()
		l.bucket.setRate(0.1) // and nobody is told: the token comes a second later
		l.mu.Unlock()

		var r *stability.Rejection
		require.ErrorAs(t, <-first, &r)
		require.Equal(t, 200*time.Millisecond+grace, time.Since(began))
		require.ErrorIs(t, r, ErrLimited)
		require.InDelta(t, time.Second+10*time.Second, r.RetryAfter, float64(time.Second), "after the one who waits")
		require.NoError(t, <-second)
		require.InDelta(t, 90*time.Millisecond+time.Second, time.Since(began), float64(time.Millisecond), "the first one's token")
		require.Zero(t, l.Stats().Queued)
	})
}

// A call that was given its token just as its time was over has it.
func TestTokenComesAsMaxWaitEnds(t *testing.T) {
	l := New(Config{Rate: 1, Burst: 1, MaxWait: time.Second})
	for range 100 { // the select chooses at random
		w := &waiter{n: 1, done: make(chan struct{})}
		close(w.done)
		over := make(chan time.Time, 1)
		over <- time.Now()
		require.Nil(t, l.wait(t.Context(), w, nil, over))
	}
}

// A busy limiter that falls idle switches its alarm off by itself.
func TestLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 10_000, Burst: 1000})
		for range 5 {
			require.True(t, l.Allow())
		}
		require.Positive(t, l.lease.Load())
		require.LessOrEqual(t, l.lease.Load(), int64(1000/16), "a sixteenth of the burst")
		time.Sleep(maxLeaseFor)
		synctest.Wait()
		require.Zero(t, l.lease.Load())
		require.False(t, l.alarm.isSet())
		require.True(t, l.Allow())
		require.LessOrEqual(t, l.lease.Load(), int64(0), "one call now and then is not worth a lease")
	})
}

// An alarm that goes off for an earlier lease is set again for the end of the present
// one, and not for as long again.
func TestLeaseEndsInTimeAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 1e6, Burst: 5000})
		for range 3 {
			require.True(t, l.Allow()) // the last one of a lease
		}
		time.Sleep(1)
		for range maxLease + 1 {
			require.True(t, l.Allow()) // the first lease is used up, and another one begun
		}
		require.Positive(t, l.lease.Load())
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		require.LessOrEqual(t, l.lease.Load(), int64(0))
		for range 5000 {
			require.True(t, l.Allow())
		}
		require.False(t, l.Allow())
	})
}

// Callers get their tokens from stripes, and neither one too many nor one too few: not
// while leases are made and taken back under them, nor at the end. That time stands
// still meanwhile is what a limiter takes for busy.
//
// Contract: 23
func TestStripesOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		burst := leaseShare * minStripe * stripes * 4
		l := New(Config{Rate: 1e-9, Burst: burst})
		l.needAlarm().crowded.Store(true)
		require.True(t, l.Allow())
		require.True(t, l.Allow())
		require.EqualValues(t, onStripes, l.lease.Load())
		var granted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for l.Allow() {
					granted.Add(1)
				}
			})
		}
		wg.Go(func() {
			for range 1000 {
				_ = l.Stats() // takes the lease back
				runtime.Gosched()
			}
		})
		wg.Wait()
		require.EqualValues(t, burst, 2+granted.Load())
	})
}

// Leases are spread where callers collide, and the burst is large enough.
func TestLeaseIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := leaseShare * minStripe * stripes
		large, small := New(Config{Rate: 1e3, Burst: enough}), New(Config{Rate: 1e3, Burst: enough - 1})
		for _, l := range []*Limiter{large, small} {
			for l.lease.Load() == 0 {
				require.True(t, l.Allow())
			}
			require.Positive(t, l.lease.Load(), "as long as nobody collides")
			require.False(t, l.spendOf(l.lease.Load()+1), "as where somebody was here in between")
			for range maxLease + 1 {
				require.True(t, l.Allow())
			}
		}
		require.EqualValues(t, onStripes, large.lease.Load())
		require.Positive(t, small.lease.Load())

		require.NoError(t, large.SetBurst(enough-1))
		for range 3 {
			require.True(t, large.Allow())
		}
		require.Positive(t, large.lease.Load(), "a burst that has become too small for it")
	})
}

// However many reach for the last token of a lease, one gets it.
//
// Contract: 23
func TestLastTokenOfALease(t *testing.T) {
	const leases = 50_000
	l := New(Config{Rate: 1, Burst: 1})
	l.needAlarm() // as whoever lends does
	var spent atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ; !done.Load(); runtime.Gosched() {
				if l.spend() {
					spent.Add(1)
				}
			}
		})
	}
	for made := 0; made < leases; runtime.Gosched() {
		if l.lease.Load() <= 0 {
			l.lease.Store(1)
			made++
		}
	}
	for l.lease.Load() > 0 {
		runtime.Gosched()
	}
	done.Store(true)
	wg.Wait()
	require.EqualValues(t, leases, spent.Load())
}

// Once a token is granted, nobody reads the clock to compare it to a refusal of before.
func TestGrantDropsTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 1, Burst: 1})
		require.True(t, l.Allow())
		require.False(t, l.Allow())
		require.NotNil(t, l.refused.Load())
		time.Sleep(time.Second)
		require.True(t, l.Allow())
		require.Nil(t, l.refused.Load())
	})
}

// What is outside the bucket, or above a burst that was lowered, is not inside too.
//
// Contract: 23, 26
func TestBucketKnowsWhatItHolds(t *testing.T) {
	var b bucket
	take := func() (n int) {
		for n < 1000 && b.take(1) {
			n++
		}
		return n
	}
	start := func() {
		b = bucket{}
		b.init(0, 1e300, 100) // a rate at which x/time/rate grants anything
		require.True(t, b.take(1))
	}
	start()
	b.setBurst(3)
	require.Equal(t, 3, take())
	start()
	b.advance(1) // full again
	require.True(t, b.lend(60))
	b.advance(2) // no more than the place that is left
	require.True(t, b.take(1))
	b.reclaim(60)
	require.Equal(t, 99, take())
	start()
	b.give(50)
	require.Equal(t, 100, take(), "what there is no room for is lost")

	b = bucket{}
	b.init(0, 1, maxBurst)
	require.True(t, b.take(maxBurst))
	b.give(maxBurst)
	b.give(maxBurst) // twice that is more than an int32
	require.EqualValues(t, maxBurst, b.tokens())
}

// Where a lease could cost the burst after an idle time, there is none.
func TestNoLeaseWhereItWouldShow(t *testing.T) {
	for _, cfg := range []Config{
		{Rate: 1000, Burst: 31},  // a sixteenth is one token
		{Rate: 1e6, Burst: 1000}, // filled before a lease could end
		{Rate: 1e300, Burst: 1 << 30},
	} {
		l := New(cfg)
		for range 30 {
			l.Allow()
			require.LessOrEqual(t, l.lease.Load(), int64(0))
		}
	}
}

// Fifty thousand waiters leave at once.
//
// Contract: 24
func TestManyWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 1, Burst: 1})
		require.True(t, l.Allow())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50_000 {
			wg.Go(func() { _ = l.Wait(ctx) })
		}
		synctest.Wait()
		require.Equal(t, 50_000, l.Stats().Queued)
		cancel()
		wg.Wait()
		require.Zero(t, l.Stats().Queued)
		time.Sleep(time.Second)
		require.True(t, l.Allow())
	})
}
