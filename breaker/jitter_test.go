package breaker_test

import (
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// By default, a dependency that was away for an hour gets its calls back within ten seconds.
// It was up to a minute, and longer behind another tier.
//
// Contract: 46
func TestOpenTimesAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Consecutive: 1})
		require.Error(t, b.Run(t.Context(), failed))
		for began := time.Now(); time.Since(began) < time.Hour; {
			wait := b.Stats().RetryAfter
			require.LessOrEqual(t, wait, 10*time.Second)
			require.Positive(t, wait)
			time.Sleep(wait)
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
	})
}

// Contract: 11
func TestJitterShortensTheOpenTime(t *testing.T) {
	for name, of := range map[string]struct{ by, then time.Duration }{
		"by nothing":            {0, 0},
		"by some":               {time.Millisecond, time.Millisecond},
		"by the longest":        {100 * time.Millisecond, 100 * time.Millisecond},
		"by more":               {100*time.Millisecond + 1, 100 * time.Millisecond},
		"by more than there is": {math.MaxInt64, 100 * time.Millisecond},
		"by less than nothing":  {-1, 0},
		"by the least":          {math.MinInt64, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var longest []time.Duration
				b := opened(t, breaker.Config{
					OpenFor: time.Second, MaxOpenFor: time.Second,
					Jitter: func(l time.Duration) time.Duration {
						longest = append(longest, l)
						return of.by
					},
				})
				since := b.Stats().Since
				for range 3 {
					left := b.Stats().RetryAfter
					require.Equal(t, time.Second-of.then, left)
					require.Equal(t, since, b.Stats().Since, "a shorter time is no change of state")
					time.Sleep(left - 1)
					require.Equal(t, breaker.Open, b.State())
					require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
					time.Sleep(1)
					require.Equal(t, breaker.HalfOpen, b.State())
					require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
					since = b.Stats().Since
				}
				require.Equal(t, []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond}, longest)
				require.EqualValues(t, 4, b.Stats().Opened)
			})
		})
	}
}

// Contract: 11
func TestJitterIsAskedAboutTheTimeAsItHasGrown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var longest []time.Duration
		b := opened(t, breaker.Config{
			OpenFor: time.Second, MaxOpenFor: 3 * time.Second,
			Jitter: func(l time.Duration) time.Duration {
				longest = append(longest, l)
				return l
			},
		})
		for _, nominal := range []time.Duration{1, 2, 3, 3} {
			nominal *= time.Second
			require.Equal(t, nominal/10, longest[len(longest)-1])
			require.Equal(t, nominal-nominal/10, b.Stats().RetryAfter)
			time.Sleep(b.Stats().RetryAfter)
			require.ErrorIs(t, b.Run(t.Context(), failed), errCall)
		}
		require.Len(t, longest, 5)
	})
}

// Where the tenth is nothing there is nothing to ask, and what draws a number below
// it would panic.
func TestJitterIsNotAskedAboutNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t, breaker.Config{OpenFor: 9, Jitter: func(time.Duration) time.Duration { panic("asked") }})
		require.EqualValues(t, 9, b.Stats().RetryAfter)
	})
}

// openings are the ways in which a breaker opens by itself. Each calls soon before
// the one opening that it is about.
var openings = map[string]func(b *breaker.Breaker, soon func()){
	"a call fails": func(b *breaker.Breaker, soon func()) {
		soon()
		_ = b.Run(context.Background(), failed)
	},
	"a call of Enter fails": func(b *breaker.Breaker, soon func()) {
		pass, _ := b.Enter(context.Background())
		soon()
		_ = pass.Done(errCall)
	},
	"a call panics": func(b *breaker.Breaker, soon func()) {
		soon()
		_ = b.Run(context.Background(), func(context.Context) error { panic("the call") })
	},
	"a probe fails": func(b *breaker.Breaker, soon func()) {
		halfOpen(b)
		soon()
		_ = b.Run(context.Background(), failed)
	},
	"a call finds that a probe has lapsed": func(b *breaker.Breaker, soon func()) {
		halfOpen(b)
		_, _ = b.Enter(context.Background())
		time.Sleep(30 * time.Second)
		soon()
		_ = b.Run(context.Background(), ok)
	},
	"a probe that has lapsed is back": func(b *breaker.Breaker, soon func()) {
		halfOpen(b)
		pass, _ := b.Enter(context.Background())
		time.Sleep(30 * time.Second)
		soon()
		_ = pass.Done(nil)
	},
	"Auto finds failures": func(b *breaker.Breaker, soon func()) {
		b.ForceClosed()
		_ = b.Run(context.Background(), failed)
		soon()
		b.Auto()
	},
}

func halfOpen(b *breaker.Breaker) {
	_ = b.Run(context.Background(), failed)
	time.Sleep(b.Stats().RetryAfter)
}

// What Jitter does is the user's own: the breaker is open for the full time, tells of
// it, and goes on to probe.
//
// Contract: 1, 10, 44
func TestPanickingJitterLosesNothing(t *testing.T) {
	for way, end := range map[string]func(){
		"panics": func() { panic("Jitter") },
		"exits":  runtime.Goexit,
	} {
		for name, open := range openings {
			t.Run(way+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					armed := false
					var changes []breaker.Change
					b := breaker.New(breaker.Config{
						Consecutive: 1, MinCalls: 1, OpenFor: time.Second, MaxOpenFor: time.Second,
						Jitter: func(time.Duration) time.Duration {
							if armed {
								end()
							}
							return 0
						},
						OnChange: func(c breaker.Change) { changes = append(changes, c) },
					})
					var thrown any
					exit(func(func()) {
						defer func() { thrown = recover() }()
						open(b, func() { armed = true })
						t.Error("nothing was thrown")
					})
					if way == "panics" {
						require.Equal(t, "Jitter", thrown)
					}
					requireAlternating(t, changes)
					require.Equal(t, breaker.Open, changes[len(changes)-1].To, "told")
					require.Equal(t, breaker.Open, b.State())
					require.Equal(t, time.Second, b.Stats().RetryAfter)
					require.Zero(t, b.Stats().Probing)
					require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
					time.Sleep(time.Second)
					require.NoError(t, b.Run(t.Context(), ok))
					require.Equal(t, breaker.Closed, b.State())
				})
			})
		}
	}
}

// No lock is held while Jitter runs. What it was to shorten may be over then.
//
// Contract: 10
func TestJitterMayUseTheBreaker(t *testing.T) {
	for name, open := range openings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b *breaker.Breaker
				armed := false
				b = breaker.New(breaker.Config{
					Consecutive: 1, MinCalls: 1,
					Jitter: func(longest time.Duration) time.Duration {
						require.Equal(t, breaker.Open, b.State())
						require.Equal(t, 10*longest, b.Stats().RetryAfter)
						require.ErrorIs(t, b.Run(context.Background(), ok), breaker.ErrOpen)
						if armed {
							b.Reset()
						}
						return longest
					},
				})
				func() {
					defer func() { _ = recover() }()
					open(b, func() { armed = true })
				}()
				require.True(t, armed)
				require.Equal(t, breaker.Closed, b.State())
				require.NoError(t, b.Run(t.Context(), ok))
			})
		})
	}
}

// A forced mode hides the state that a probe's failure leads to; the open time that
// it comes back to is as long as it would be otherwise.
//
// Contract: 11, 12
func TestJitterWhileForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := probing(t, breaker.Config{
			OpenFor: time.Second, Jitter: func(longest time.Duration) time.Duration { return longest },
			OnChange: func(c breaker.Change) { changes = append(changes, c) },
		})
		pass, err := b.Enter(t.Context())
		require.NoError(t, err)
		b.ForceClosed()
		_ = pass.Done(errCall)
		require.Equal(t, breaker.Closed, b.State())
		b.Auto()
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, 1800*time.Millisecond, b.Stats().RetryAfter)
		requireAlternating(t, changes)
	})
}

// A Jitter that takes its time holds up the call that asked it, and no other; what
// it takes is part of the open time.
//
// Contract: 10, 11
func TestSlowJitter(t *testing.T) {
	for _, of := range []struct{ takes, openFor time.Duration }{
		{500 * time.Millisecond, 900 * time.Millisecond},
		{950 * time.Millisecond, 950 * time.Millisecond}, // past the time that it shortens to
		{time.Second, time.Second},
		{time.Minute, time.Second},
	} {
		t.Run(of.takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(breaker.Config{
					Consecutive: 1, OpenFor: time.Second,
					Jitter: func(longest time.Duration) time.Duration {
						time.Sleep(of.takes)
						return longest
					},
				})
				var wg sync.WaitGroup
				wg.Go(func() { _ = b.Run(context.Background(), failed) })
				synctest.Wait()
				require.Equal(t, breaker.Open, b.State())
				require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
				require.Equal(t, time.Second, b.Stats().RetryAfter)
				time.Sleep(of.openFor - 1)
				require.ErrorIs(t, b.Run(t.Context(), ok), breaker.ErrOpen)
				time.Sleep(1 + 2) // and what the shortest open time takes
				require.NoError(t, b.Run(t.Context(), ok))
				require.Equal(t, breaker.Closed, b.State())
				wg.Wait()
				require.Equal(t, breaker.Closed, b.State())
			})
		})
	}
}

// Each member asks on its own.
func TestJitterOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := time.Duration(0)
		g := breaker.NewGroup(breaker.Config{
			Consecutive: 1, OpenFor: time.Second,
			Jitter: func(time.Duration) time.Duration { by += time.Millisecond; return by },
		}, stability.Keys{})
		for i, key := range []string{"a", "b", "c"} {
			_ = g.Get(key).Run(t.Context(), failed)
			require.Equal(t, time.Second-time.Duration(i+1)*time.Millisecond, g.Get(key).Stats().RetryAfter)
		}
	})
}
