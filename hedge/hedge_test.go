package hedge_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
)

var errCall = errors.New("the call's own error")

const delay = 10 * time.Millisecond

// A step is what one of the calls of a race does: it ends after a while, or, unless
// it is deaf, when its context does.
type step struct {
	after time.Duration
	deaf  bool
	err   error
	do    func() // at the end, before it returns
}

// A track is where a race is run. Each call returns its number as its value.
type track struct {
	steps    []step
	mu       sync.Mutex
	started  []time.Duration
	ended    int
	contexts []context.Context
	began    time.Time
	dropped  []int
}

func newTrack(steps ...step) *track { return &track{steps: steps, began: time.Now()} }

func (k *track) call(ctx context.Context) (int, error) {
	k.mu.Lock()
	k.started = append(k.started, time.Since(k.began))
	k.contexts = append(k.contexts, ctx)
	n := len(k.started)
	s := k.steps[n-1]
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ended++
	}()
	done := ctx.Done()
	if s.deaf {
		done = nil
	}
	select {
	case <-time.After(s.after):
	case <-done:
		return 0, ctx.Err()
	}
	if s.do != nil {
		s.do()
	}
	return n, s.err
}

func (k *track) drop(n int) { k.dropped = append(k.dropped, n) }

func fixed(calls int) *hedge.Hedge { return hedge.New(hedge.Config{Delay: delay, Max: calls}) }

func TestFastCallIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(2), newTrack(step{after: delay / 2})
		v, err := hedge.Do(t.Context(), h, k.call, k.drop)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		time.Sleep(time.Hour)
		require.Len(t, k.started, 1)
		require.Zero(t, h.Stats().Hedges)
		require.Equal(t, stability.Calls{Succeeded: 1}, h.Stats().Calls)
	})
}

// Contract: 32
func TestSlowCallIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(2), newTrack(step{after: time.Hour}, step{after: delay})
		v, err := hedge.Do(t.Context(), h, k.call, k.drop)
		require.NoError(t, err)
		require.Equal(t, 2, v)
		require.Equal(t, 2*delay, time.Since(k.began))
		require.Equal(t, []time.Duration{0, delay}, k.started)
		require.Equal(t, 2, k.ended, "the loser has been waited for")
		require.ErrorIs(t, context.Cause(k.contexts[0]), hedge.ErrLost)
		require.ErrorIs(t, k.contexts[0].Err(), context.Canceled)
		require.Empty(t, k.dropped)
		s := h.Stats()
		require.Equal(t, stability.Calls{Succeeded: 1}, s.Calls)
		require.EqualValues(t, 1, s.Hedges)
		require.EqualValues(t, 1, s.Won)
		require.EqualValues(t, 1, s.Budget.Spent)
	})
}

// Contract: 32
func TestLosersValueIsDisposedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(3), newTrack(step{after: time.Second, deaf: true}, step{after: time.Second, deaf: true}, step{after: delay})
		v, err := hedge.Do(t.Context(), h, k.call, k.drop, nil)
		require.NoError(t, err)
		require.Equal(t, 3, v)
		require.Equal(t, []time.Duration{0, delay, 2 * delay}, k.started)
		require.Equal(t, []int{1, 2}, k.dropped)
		require.Equal(t, time.Second+delay, time.Since(k.began), "it waits for calls that are deaf")
	})
}

// Contract: 30, 32
func TestSpentBudgetSuppressesTheHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Ratio: 0.1, MinPerSecond: 1e-9})
		h := hedge.New(hedge.Config{Delay: delay, Max: 3, Budget: budget})
		for range 100 {
			k := newTrack(step{after: 5 * delay}, step{after: time.Hour})
			v, err := hedge.Do(t.Context(), h, k.call, k.drop)
			require.NoError(t, err)
			require.Equal(t, 1, v)
			require.Equal(t, 5*delay, time.Since(k.began))
		}
		s := h.Stats()
		require.EqualValues(t, 10, s.Hedges)
		require.EqualValues(t, 100, s.Suppressed)
		require.Equal(t, retry.BudgetStats{Limit: 10, Spent: 10}, s.Budget)
		require.Equal(t, stability.Calls{Succeeded: 100}, s.Calls)

		// What hedges spent, retries do not have.
		r := retry.New(retry.Config{Budget: budget})
		err := r.Run(retry.WithAttempt(t.Context(), 0), func(context.Context) error { return errCall })
		require.ErrorIs(t, err, retry.ErrBudget)
	})
}

// A call that passes a retry and a hedge with one budget earns once.
//
// Contract: 30
func TestSharedBudgetEarnsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(retry.BudgetConfig{Ratio: 1, MinPerSecond: 1e-9})
		r := retry.New(retry.Config{Budget: budget})
		h := hedge.New(hedge.Config{Delay: delay, Budget: budget})
		calls := 0
		_ = r.Run(t.Context(), func(ctx context.Context) error {
			_, err := hedge.Do(ctx, h, func(context.Context) (int, error) { calls++; return 0, errCall })
			return err
		})
		require.Equal(t, retry.BudgetStats{Limit: 1, Spent: 1}, budget.Stats())
		require.Equal(t, 2, calls)
		_, _ = hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
			return 0, r.Run(ctx, func(context.Context) error { calls++; return errCall })
		})
		require.Equal(t, retry.BudgetStats{Limit: 2, Spent: 2}, budget.Stats())
		require.Equal(t, 4, calls)
	})
}

func TestFailures(t *testing.T) {
	other := errors.New("another error")
	refused := &stability.Rejection{Policy: "bulkhead"}
	for name, c := range map[string]struct {
		steps []step
		v     int
		err   error
		took  time.Duration
	}{
		"alone, returned at once":              {[]step{{after: delay / 2, err: errCall}}, 1, errCall, delay / 2},
		"the first, while another succeeds":    {[]step{{after: 2 * delay, err: errCall}, {after: 3 * delay}}, 2, nil, 4 * delay},
		"the other, while the first succeeds":  {[]step{{after: 5 * delay}, {after: delay, err: errCall}}, 1, nil, 5 * delay},
		"both, the first first":                {[]step{{after: delay + 1, err: errCall}, {after: 5, err: other}}, 1, errCall, delay + 5},
		"both, the first last":                 {[]step{{after: delay + 5, err: errCall}, {after: 1, err: other}}, 1, errCall, delay + 5},
		"the first two, while a third is slow": {[]step{{after: 3 * delay, err: errCall}, {after: 3 * delay, err: other}, {after: 5 * delay}}, 3, nil, 7 * delay},
		"the first refused, the other made":    {[]step{{after: delay + 1, err: refused}, {after: 5, err: errCall}}, 2, errCall, delay + 5},
		"the first made, the other refused":    {[]step{{after: delay + 5, err: errCall}, {after: 1, err: refused}}, 1, errCall, delay + 5},
		"both refused":                         {[]step{{after: delay + 1, err: refused}, {after: 5, err: refused}}, 1, refused, delay + 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, k := fixed(3), newTrack(append(c.steps, step{after: time.Hour}, step{after: time.Hour})...)
				v, err := hedge.Do(t.Context(), h, k.call, k.drop)
				require.Equal(t, c.err, err)
				require.Equal(t, c.v, v)
				require.Equal(t, c.took, time.Since(k.began))
				require.Equal(t, len(k.started), k.ended)
				require.Empty(t, k.dropped)
				require.EqualValues(t, 1, h.Stats().Started())
			})
		})
	}
}

func TestOneCallAtTheMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(1), newTrack(step{after: time.Hour})
		v, err := hedge.Do(t.Context(), h, k.call)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.Len(t, k.started, 1)
	})
}

func TestCallersContextEndsAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(3), newTrack(step{after: time.Hour}, step{after: time.Hour}, step{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(delay+1, cancel)
		_, err := hedge.Do(ctx, h, k.call)
		require.Equal(t, context.Canceled, err)
		require.Equal(t, delay+1, time.Since(k.began))
		require.Len(t, k.started, 2)
		require.Equal(t, stability.Calls{Ignored: 1}, h.Stats().Calls)

		_, err = hedge.Do(ctx, h, func(context.Context) (int, error) { t.Error("the call ran"); return 0, nil })
		require.Equal(t, context.Canceled, err)
		require.Equal(t, stability.Calls{Ignored: 1}, h.Stats().Calls)
	})
}

// No call is started for a caller who has gone, however slow the first is to end.
func TestNoHedgeForACallerWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(3), newTrack(step{after: time.Hour, deaf: true})
		ctx, cancel := context.WithTimeout(t.Context(), delay/2)
		defer cancel()
		v, err := hedge.Do(ctx, h, k.call)
		require.NoError(t, err)
		require.Equal(t, 1, v, "what it returned all the same")
		require.Len(t, k.started, 1)
		require.Zero(t, h.Stats().Budget.Spent)
	})
}

func TestContextValuesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		h, k := fixed(2), newTrack(step{after: time.Hour}, step{})
		_, err := hedge.Do(context.WithValue(t.Context(), key{}, "v"), h, k.call)
		require.NoError(t, err)
		for _, ctx := range k.contexts {
			require.Equal(t, "v", ctx.Value(key{}))
		}
	})
}

// The value of a panic reaches the caller whichever of the calls it was in, and
// only after the others have ended; what they returned goes to the disposer.
func TestPanics(t *testing.T) {
	value := new(int)
	boom := func() { panic(value) }
	for name, steps := range map[string][]step{
		"the first, alone":               {{do: boom}},
		"the first, beside another":      {{after: 2 * delay, do: boom}, {after: time.Hour}},
		"the other":                      {{after: time.Hour}, {after: delay, do: boom}},
		"the first, beside one that won": {{after: 3 * delay, deaf: true, do: boom}, {after: delay}},
		"the other, after the first won": {{after: 3 * delay}, {after: 3 * delay, deaf: true, do: boom}},
		"both":                           {{after: 3 * delay, deaf: true, do: boom}, {after: delay, do: boom}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, k := fixed(2), newTrack(steps...)
				func() {
					defer func() { require.Same(t, value, recover()) }()
					_, _ = hedge.Do(t.Context(), h, k.call, k.drop)
				}()
				require.Equal(t, len(k.started), k.ended, "the others have ended")
				for _, ctx := range k.contexts {
					require.Error(t, ctx.Err())
				}
				switch name {
				case "the first, beside one that won":
					require.Equal(t, []int{2}, k.dropped)
				case "the other, after the first won":
					require.Equal(t, []int{1}, k.dropped)
				default:
					require.Empty(t, k.dropped)
				}
				require.Equal(t, stability.Calls{Failed: 1}, h.Stats().Calls)
			})
		})
	}
}

func TestGoexit(t *testing.T) {
	for name, steps := range map[string][]step{
		"the first": {{after: 2 * delay, do: runtime.Goexit}, {after: time.Hour}},
		"the other": {{after: time.Hour}, {after: delay, do: runtime.Goexit}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, k := fixed(2), newTrack(steps...)
				returned := false
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _ = hedge.Do(t.Context(), h, k.call, k.drop)
					returned = true
				})
				wg.Wait()
				require.False(t, returned, "a Goexit ends the caller's goroutine")
				require.Equal(t, 2, k.ended)
				require.Equal(t, stability.Calls{Failed: 1}, h.Stats().Calls)
			})
		})
	}
}

// A disposer that panics takes no other value with it; and since the caller does
// not get the result, that is disposed of too.
func TestPanicInADisposer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := fixed(3), newTrack(step{after: time.Second, deaf: true}, step{after: time.Second, deaf: true}, step{after: delay})
		require.PanicsWithValue(t, "boom", func() {
			_, _ = hedge.Do(t.Context(), h, k.call, func(n int) {
				k.drop(n)
				if n == 1 {
					panic("boom")
				}
			})
		})
		slices.Sort(k.dropped)
		require.Equal(t, []int{1, 2, 3}, k.dropped)
		for _, ctx := range k.contexts {
			require.Error(t, ctx.Err())
		}
		require.Equal(t, stability.Calls{Succeeded: 1}, h.Stats().Calls)
	})
}

func TestPanicInClassify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: delay, Classify: func(context.Context, error) stability.Outcome { panic("boom") }})
		k := newTrack(step{})
		require.PanicsWithValue(t, "boom", func() { _, _ = hedge.Do(t.Context(), h, k.call, k.drop) })
		require.Equal(t, []int{1}, k.dropped)
		require.Equal(t, stability.Calls{Failed: 1}, h.Stats().Calls)
	})
}

func TestOpenKeepsTheWinnersContext(t *testing.T) {
	for winner, steps := range map[int][]step{
		1: {{after: 2 * delay}, {after: time.Hour}},
		2: {{after: time.Hour}, {after: delay}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, k := fixed(2), newTrack(steps...)
			ctx, cancel := context.WithCancel(t.Context())
			v, release, err := hedge.Open(ctx, h, k.call)
			require.NoError(t, err)
			require.Equal(t, winner, v)
			require.NoError(t, k.contexts[v-1].Err())
			release()
			release()
			require.Error(t, k.contexts[v-1].Err())

			k = newTrack(steps...)
			v, release, err = hedge.Open(ctx, h, k.call)
			require.NoError(t, err)
			defer release()
			cancel()
			require.Error(t, k.contexts[v-1].Err(), "the caller's context still ends it")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		k := newTrack(step{err: errCall})
		_, release, err := hedge.Open(t.Context(), fixed(2), k.call)
		require.ErrorIs(t, err, errCall)
		require.Error(t, k.contexts[0].Err(), "nothing is left to release after a failure")
		release()
	})
}

func TestNilRunsUnguarded(t *testing.T) {
	v, err := hedge.Do(t.Context(), nil, func(ctx context.Context) (int, error) {
		require.Equal(t, t.Context(), ctx)
		return 7, errCall
	})
	require.Equal(t, 7, v)
	require.ErrorIs(t, err, errCall)
	require.Zero(t, (*hedge.Hedge)(nil).Stats())
}

// Gates inside a hedge see a loser's end as its caller's doing.
//
// Contract: 32, 44
func TestLosersAreIgnoredByGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Consecutive: 1, MinCalls: 1})
		l := bulkhead.New(bulkhead.Config{Limit: 2})
		gates := stability.Gates(b, l)
		h := hedge.New(hedge.Config{Delay: delay, Budget: retry.Unlimited()})
		for range 100 {
			k := newTrack(step{after: time.Hour}, step{after: delay})
			v, err := hedge.Do(t.Context(), h, func(ctx context.Context) (int, error) {
				return stability.Do(ctx, gates, k.call)
			})
			require.NoError(t, err)
			require.Equal(t, 2, v)
		}
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, stability.Calls{Succeeded: 100, Ignored: 100}, b.Stats().Calls)
		require.Zero(t, l.Stats().InUse)
	})
}

func oneKey(context.Context) string { return "the one" }

// Contract: 41
func TestConfig(t *testing.T) {
	for _, cfg := range []hedge.Config{
		{Delay: -1}, {Max: -1}, {MinDelay: -1}, {MaxDelay: -1}, {MinDelay: 2, MaxDelay: 1},
		{Percentile: -0.1}, {Percentile: 1}, {Percentile: 95}, {Percentile: math.NaN()}, {Percentile: math.Inf(1)}, {Percentile: math.Inf(-1)},
		{Delay: 1, Percentile: 0.5}, {Delay: 1, MinDelay: 1}, {Delay: 1, MaxDelay: 1},
		{Delay: 1, Key: oneKey}, {Keys: stability.Keys{Max: 1}}, {Key: oneKey, Keys: stability.Keys{Max: -1}},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, "hedge: Config.")
		require.PanicsWithError(t, err.Error(), func() { hedge.New(cfg) })
	}
	require.EqualError(t, hedge.Config{
		Delay: -1, Percentile: 95, MinDelay: 2, MaxDelay: 1, Max: -3, Keys: stability.Keys{Max: -4, IdleFor: -5},
	}.Validate(), `hedge: Config.Delay (-1ns) must not be negative
hedge: Config.Percentile (95) must be from 0 to below 1
hedge: Config.MinDelay (2ns) must not be longer than Config.MaxDelay (1ns)
hedge: Config.Max (-3) must not be negative
hedge: Config.Keys ({-4 -5ns}) needs a Config.Key
hedge: Config.Keys.Max (-4) must not be negative
hedge: Config.Keys.IdleFor (-5ns) must not be negative`)
	for want, cfg := range map[time.Duration]hedge.Config{ // the delay while nothing is known
		time.Second:   {},
		7:             {Delay: 7},
		8:             {MaxDelay: 8},
		time.Hour:     {MinDelay: time.Hour},
		9:             {MaxDelay: 9, Key: oneKey},
		math.MaxInt64: {Delay: math.MaxInt64, Max: math.MaxInt},
	} {
		require.NoError(t, cfg.Validate())
		require.Equal(t, want, hedge.New(cfg).Stats().Delay)
	}
}

// The delay follows the latencies: 20 calls are enough to begin with.
func TestPercentileOfLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Percentile: 0.9, MinDelay: 2 * time.Millisecond, MaxDelay: time.Second})
		calls := func(n int, latency time.Duration, err error) {
			for range n {
				_, _ = hedge.Do(t.Context(), h, newTrack(step{after: latency, err: err}, step{after: latency, err: err}).call)
			}
		}
		calls(19, 100*time.Millisecond, nil)
		require.Equal(t, time.Second, h.Stats().Delay)
		calls(1, 100*time.Millisecond, nil)
		require.InEpsilon(t, 100*time.Millisecond, h.Stats().Delay, 1./16)
		calls(20, time.Microsecond, errCall)
		require.InEpsilon(t, 100*time.Millisecond, h.Stats().Delay, 1./16, "failures are not latencies")
		calls(1024, time.Microsecond, nil)
		require.Equal(t, 2*time.Millisecond, h.Stats().Delay, "not below MinDelay")
		calls(1024, 10*time.Second, nil)
		require.Equal(t, time.Second, h.Stats().Delay, "not above MaxDelay")
	})
}

// The latency of a first call that lost counts as longer than the delay, or else
// the delay would sink with each hedge that wins.
func TestLostLatenciesHoldThePercentile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Percentile: 0.9, Budget: retry.Unlimited()})
		calls := func(n int, slow step) {
			for i := range n {
				first := step{after: 10 * time.Millisecond}
				if i%10 < 2 { // two in ten, where the delay is the ninth
					first = slow
				}
				_, err := hedge.Do(t.Context(), h, newTrack(first, step{after: 10 * time.Millisecond}).call)
				require.NoError(t, err)
			}
		}
		calls(1024, step{after: 10 * time.Millisecond})
		require.InEpsilon(t, 10*time.Millisecond, h.Stats().Delay, 1./16)
		calls(5000, step{after: 15 * time.Millisecond, err: errCall})
		require.InEpsilon(t, 10*time.Millisecond, h.Stats().Delay, 1./16, "a first call that failed says nothing")
		calls(5000, step{after: time.Second})
		require.Greater(t, h.Stats().Delay, 50*time.Millisecond, "it rises until fewer calls are hedged")
	})
}

// A dependency that is slower than others is hedged as often as they are, by the
// measure of its own calls, and each is paid for by its own key's budget.
//
// Contract: 32
func TestLatenciesOfEachKey(t *testing.T) {
	type shard struct{}
	of := func(ctx context.Context) string {
		key, _ := ctx.Value(shard{}).(string)
		return key
	}
	hedges := func(t *testing.T, cfg hedge.Config) (*hedge.Hedge, int64) {
		h := hedge.New(cfg)
		for i := range 2000 {
			key, latency := "fast", time.Millisecond
			if i%40 == 0 {
				key, latency = "slow", 50*time.Millisecond
			}
			_, err := hedge.Do(context.WithValue(t.Context(), shard{}, key), h, newTrack(step{after: latency}, step{after: latency}).call)
			require.NoError(t, err)
		}
		return h, h.Stats().Hedges
	}
	synctest.Test(t, func(t *testing.T) {
		_, together := hedges(t, hedge.Config{Budget: retry.Unlimited()})
		require.Greater(t, together, int64(40), "of 50, but the first, which came before anything was known")
		budget := retry.NewBudget(retry.BudgetConfig{Key: of})
		h, apart := hedges(t, hedge.Config{Key: of, Budget: budget})
		require.Zero(t, apart)
		require.InEpsilon(t, 50*time.Millisecond, h.Stats().Delay, 1./16, "the longest")

		_, err := hedge.Do(context.WithValue(t.Context(), shard{}, "fast"), h, newTrack(step{after: time.Second}, step{after: time.Second}).call)
		require.NoError(t, err)
		require.EqualValues(t, 1, h.Stats().Hedges)
		require.EqualValues(t, 1, budget.For(context.WithValue(t.Context(), shard{}, "fast")).Stats().Spent)
		require.Zero(t, budget.For(context.WithValue(t.Context(), shard{}, "slow")).Stats().Spent)
	})
}
