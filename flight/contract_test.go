package flight_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errCall = errors.New("the call's own error")

type contextKey struct{}

// result is what one caller got, and in which way.
type result struct {
	value    string
	degraded *stability.Degraded
	err      error
	panicked any
	goexit   bool
	returned bool
}

// A caller is one that called Do.
type caller struct {
	mu     sync.Mutex
	result result
}

// got is what the caller has got, the zero result while it waits.
func (c *caller) got() result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

// do calls Do on a goroutine of its own, which a Goexit may end.
func do(ctx context.Context, f *flight.Flights[string], key string, fn func(context.Context) (string, error)) *caller {
	c := &caller{}
	go func() {
		var r result
		defer func() {
			if !r.returned {
				r.panicked = recover()
				r.goexit = r.panicked == nil
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.result = r
		}()
		v, degraded, err := f.Do(ctx, key, fn)
		r = result{value: v, degraded: degraded, err: err, returned: true}
	}()
	return c
}

func atRest(t testing.TB, f *flight.Flights[string]) {
	t.Helper()
	require.Zero(t, f.Stats().Running)
}

func TestOneCallForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		var calls atomic.Int64
		fn := func(context.Context) (string, error) {
			calls.Add(1)
			time.Sleep(time.Second)
			return "value", nil
		}
		var callers []*caller
		for range 100 {
			callers = append(callers, do(t.Context(), f, "k", fn))
		}
		other := do(t.Context(), f, "another key", fn)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, r := range append(callers, other) {
			require.Equal(t, result{value: "value", returned: true}, r.got())
		}
		require.EqualValues(t, 2, calls.Load())
		require.Equal(t, flight.Stats{Calls: stability.Calls{Succeeded: 2}, Shared: 99}, f.Stats())

		r := do(t.Context(), f, "k", func(context.Context) (string, error) { return "next", errCall })
		synctest.Wait()
		require.Equal(t, result{value: "next", err: errCall, returned: true}, r.got(), "what comes later is a new call")
	})
}

// The one who leaves is the first, whose context the call has its values from.
func TestALeavingCallerDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		fn := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Second):
				return ctx.Value(contextKey{}).(string), nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "of the first"))
		first := do(ctx, f, "k", fn)
		synctest.Wait()
		second := do(t.Context(), f, "k", fn)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.ErrorIs(t, first.got().err, context.Canceled, "it leaves at once")
		require.False(t, second.got().returned)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, result{value: "of the first", returned: true}, second.got())
		atRest(t, f)
	})
}

func TestTheCallEndsWhenTheLastCallerHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		var ended atomic.Bool
		fn := func(ctx context.Context) (string, error) {
			_, ok := ctx.Deadline()
			require.False(t, ok, "no caller's deadline")
			<-ctx.Done()
			ended.Store(true)
			time.Sleep(time.Minute) // it takes its time to wind up
			return "", ctx.Err()
		}
		canceled, cancel := context.WithCancel(t.Context())
		timed, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		first, last := do(canceled, f, "k", fn), do(timed, f, "k", fn)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.ErrorIs(t, first.got().err, context.Canceled)
		require.False(t, ended.Load(), "one caller is left")
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, ended.Load())
		require.False(t, last.got().returned, "the last one waits")

		// Who comes now must not get the cancellation of those who left.
		next := do(t.Context(), f, "k", func(context.Context) (string, error) { return "anew", nil })
		synctest.Wait()
		require.Equal(t, result{value: "anew", returned: true}, next.got())
		require.Equal(t, 1, f.Stats().Running)

		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, context.DeadlineExceeded, last.got().err, "the caller's own, not the cancellation of the call's context")
		require.Equal(t, flight.Stats{Calls: stability.Calls{Succeeded: 1, Failed: 1}, Shared: 1}, f.Stats())
	})
}

func TestTheLastCallerKeepsAValueThatCameNevertheless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, degraded, err := f.Do(ctx, "k", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "value", nil
		})
		require.NoError(t, err)
		require.Nil(t, degraded)
		require.Equal(t, "value", v)
	})
}

func TestAnEndedContextTakesNoPart(t *testing.T) {
	f := flight.New[string](flight.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := f.Do(ctx, "k", func(context.Context) (string, error) {
		t.Error("the call ran")
		return "", nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, f.Stats())
}

func TestPanicAndGoexitReachEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Hour})
		keep(t, f, "k", "kept")
		value := &struct{ int }{7}
		for _, end := range []func(){func() { panic(value) }, runtime.Goexit} {
			fn := func(context.Context) (string, error) {
				time.Sleep(time.Second)
				end()
				return "", nil
			}
			leaver, leave := context.WithTimeout(t.Context(), time.Millisecond)
			defer leave()
			callers := []*caller{do(leaver, f, "k", fn)}
			for range 10 {
				callers = append(callers, do(t.Context(), f, "k", fn))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			require.True(t, callers[0].got().returned)
			for _, c := range callers[1:] {
				r := c.got()
				require.False(t, r.returned)
				if !r.goexit {
					require.Same(t, value, r.panicked)
				}
			}
		}
		require.EqualValues(t, 2, f.Stats().Failed)
		atRest(t, f)
	})
}

// With nobody else there, a panic after the last caller gave up still has somewhere
// to go.
func TestPanicAfterTheLastCallerGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := do(ctx, f, "k", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			panic(errCall)
		})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, errCall, r.got().panicked)
	})
}

func TestAPanickingClassifierIsTheCallers(t *testing.T) {
	f := flight.New[string](flight.Config{Classify: func(context.Context, error) stability.Outcome { panic(errCall) }})
	require.PanicsWithValue(t, errCall, func() {
		_, _, _ = f.Do(t.Context(), "k", func(context.Context) (string, error) { return "", nil })
	})
	require.Equal(t, flight.Stats{Calls: stability.Calls{Failed: 1}}, f.Stats())
}

func keep(t *testing.T, f *flight.Flights[string], key, value string) {
	t.Helper()
	_, _, err := f.Do(t.Context(), key, func(context.Context) (string, error) { return value, nil })
	require.NoError(t, err)
}

func fails(context.Context) (string, error) { return "half", errCall }

func TestStaleIfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Minute})
		_, degraded, err := f.Do(t.Context(), "k", fails)
		require.Equal(t, errCall, err, "nothing kept yet")
		require.Nil(t, degraded)

		keep(t, f, "k", "value")
		time.Sleep(time.Minute)
		v, degraded, err := f.Do(t.Context(), "k", fails)
		require.NoError(t, err)
		require.Equal(t, "value", v)
		require.Equal(t, &stability.Degraded{Cause: errCall, Age: time.Minute}, degraded)

		v, degraded, err = f.Do(t.Context(), "k", func(context.Context) (string, error) { return "", &stability.Rejection{Policy: "breaker"} })
		require.NoError(t, err, "a refusal is answered too")
		require.Equal(t, "value", v)
		require.ErrorIs(t, degraded.Cause, stability.ErrRejected)
		require.Equal(t, 1, f.Stats().Kept)

		time.Sleep(1)
		v, degraded, err = f.Do(t.Context(), "k", fails)
		require.Equal(t, errCall, err, "too old")
		require.Nil(t, degraded)
		require.Equal(t, "half", v)
		require.Equal(t, flight.Stats{Calls: stability.Calls{Succeeded: 1, Failed: 3, Ignored: 1}, Stale: 2}, f.Stats())
	})
}

// The dependency hangs, the caller has a deadline: it has not answered in time, which
// is a failure as any other. A caller who canceled wants nothing.
func TestStaleAtACallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Minute})
		keep(t, f, "k", "value")
		hangs := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		canceled, cancel := context.WithCancel(t.Context())
		timed, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		longer, stop := context.WithTimeout(t.Context(), 2*time.Second)
		defer stop()
		gone, early, last := do(canceled, f, "k", hangs), do(timed, f, "k", hangs), do(longer, f, "k", hangs)
		synctest.Wait()
		cancel()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, result{err: context.Canceled, returned: true}, gone.got())
		require.Equal(t, result{value: "value", degraded: &stability.Degraded{Cause: context.DeadlineExceeded, Age: time.Second}, returned: true}, early.got())
		require.Equal(t, result{value: "value", degraded: &stability.Degraded{Cause: context.DeadlineExceeded, Age: 2 * time.Second}, returned: true}, last.got())
	})
}

// Whatever the classifier makes of the end of a call that was canceled.
func TestNothingStaleForTheLastOneWhoCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Minute, Classify: func(_ context.Context, err error) stability.Outcome {
			if err == nil {
				return stability.Success
			}
			return stability.Failure
		}})
		keep(t, f, "k", "value")
		ctx, cancel := context.WithCancel(t.Context())
		c := do(ctx, f, "k", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.Equal(t, result{err: context.Canceled, returned: true}, c.got())
	})
}

var errGone = errors.New("no such row")

func goneIsAnAnswer(ctx context.Context, err error) stability.Outcome {
	if errors.Is(err, errGone) {
		return stability.Success
	}
	return stability.Classify(ctx, err)
}

func isGone(context.Context) (string, error) { return "", errGone }

func TestAnAnswerThatIsAnErrorForgetsTheValue(t *testing.T) {
	f := flight.New[string](flight.Config{StaleIfError: time.Hour, Classify: goneIsAnAnswer})
	keep(t, f, "k", "row")
	_, degraded, err := f.Do(t.Context(), "k", isGone)
	require.Equal(t, errGone, err)
	require.Nil(t, degraded)
	_, degraded, err = f.Do(t.Context(), "k", fails)
	require.Equal(t, errCall, err, "the row is gone, and not to be seen again")
	require.Nil(t, degraded)
	require.Zero(t, f.Stats().Kept)
}

// Not through an earlier call either, which all had left and which returns at last.
func TestAnEarlierCallDoesNotBringAForgottenValueBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Hour, Classify: goneIsAnAnswer})
		ctx, leave := context.WithCancel(t.Context())
		old := do(ctx, f, "k", func(context.Context) (string, error) { time.Sleep(time.Minute); return "old", nil })
		synctest.Wait()
		leave()
		time.Sleep(time.Second)
		_, _, err := f.Do(t.Context(), "k", isGone)
		require.Equal(t, errGone, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, result{value: "old", returned: true}, old.got())
		_, _, err = f.Do(t.Context(), "k", fails)
		require.Equal(t, errCall, err)

		keep(t, f, "k", "new")
		require.Equal(t, 1, f.Stats().Kept, "what comes later is kept again")
	})
}

// stray makes a call that takes so long, and is left at once.
func stray(t *testing.T, f *flight.Flights[string], took time.Duration, value string, err error) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	do(ctx, f, "k", func(context.Context) (string, error) { time.Sleep(took); return value, err })
	synctest.Wait()
	leave()
	time.Sleep(time.Second)
}

func TestAnswersOfCallsThatAllHaveLeft(t *testing.T) {
	stale := func(t *testing.T, f *flight.Flights[string]) string {
		t.Helper()
		v, degraded, _ := f.Do(t.Context(), "k", fails)
		if degraded == nil {
			return ""
		}
		return v
	}
	cfg := flight.Config{StaleIfError: time.Hour, Classify: goneIsAnAnswer}
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](cfg)
		stray(t, f, time.Minute, "", errGone)
		keep(t, f, "k", "new")
		time.Sleep(2 * time.Minute)
		require.Equal(t, "new", stale(t, f), "the row has come since")
	})
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](cfg)
		stray(t, f, time.Minute, "old", nil)
		stray(t, f, 2*time.Minute, "older", nil) // and comes back last
		stray(t, f, 90*time.Second, "", errGone)
		_, _, err := f.Do(t.Context(), "k", isGone)
		require.Equal(t, errGone, err)
		time.Sleep(3 * time.Minute)
		require.Empty(t, stale(t, f))
		require.Zero(t, f.Strays(), "nothing is kept about calls that have returned")
	})
}

func TestAnAnswerThatIsAnErrorCountsAtTheDeadlineToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Hour, Classify: goneIsAnAnswer})
		keep(t, f, "k", "row")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, degraded, err := f.Do(ctx, "k", func(context.Context) (string, error) {
			time.Sleep(2 * time.Second)
			return "", errGone
		})
		require.Equal(t, errGone, err)
		require.Nil(t, degraded)
		require.Zero(t, f.Stats().Kept)
	})
}

// The call ends as the last caller's context did, and not with a cancellation that
// says nothing about the dependency: for the flights themselves, and for what is
// inside.
//
// Contract: 6
func TestADependencyThatHangsUntilTheDeadlinesHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		b := breaker.New(breaker.Config{Consecutive: 5})
		bounds := timeout.New(timeout.Config{After: time.Hour})
		hangs := func(ctx context.Context) (string, error) {
			return timeout.Do(ctx, bounds, func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
		}
		call := func(ctx context.Context) *caller {
			return do(ctx, f, "k", func(ctx context.Context) (string, error) { return breaker.Do(ctx, b, hangs) })
		}
		for range 5 {
			require.Equal(t, breaker.Closed, b.State())
			canceled, cancel := context.WithCancel(t.Context())
			timed, stop := context.WithTimeout(t.Context(), time.Second)
			first, last := call(canceled), call(timed)
			synctest.Wait()
			cancel()
			time.Sleep(time.Second)
			synctest.Wait()
			stop()
			require.ErrorIs(t, first.got().err, context.Canceled)
			require.ErrorIs(t, last.got().err, context.DeadlineExceeded)
		}
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, stability.Calls{Failed: 5}, f.Stats().Calls)

		b.Reset()
		canceled, cancel := context.WithCancel(t.Context())
		call(canceled)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 1, f.Stats().Ignored, "nobody is interested")
		require.EqualValues(t, 1, b.Stats().Ignored)
	})
}

// An error and a context are the user's: what they do when they are asked is done with
// no lock held, and a panic of theirs is the callers'.
//
// Contract: 10, 14
func TestUsersErrorsAndContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Minute, Classify: func(context.Context, error) stability.Outcome {
			return stability.Success // asks nothing
		}})
		asked := 0
		asks := func() { asked++; f.Stats() }
		_, _, err := f.Do(t.Context(), "k", func(context.Context) (string, error) { return "", curious(asks) })
		require.Error(t, err)
		require.PanicsWithValue(t, errCall, func() {
			_, _, _ = f.Do(t.Context(), "k", func(context.Context) (string, error) { return "", curious(func() { panic(errCall) }) })
		})
		ctx, cancel := context.WithCancel(t.Context())
		c := do(curiousContext{ctx, asks}, f, "k", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.True(t, c.got().returned)
		require.GreaterOrEqual(t, asked, 2)
	})
}

type curious func()

func (c curious) Error() string { return "curious" }

func (c curious) Is(error) bool {
	c()
	return false
}

type curiousContext struct {
	context.Context
	asks func()
}

func (c curiousContext) Err() error {
	err := c.Context.Err()
	if err != nil {
		c.asks()
	}
	return err
}

func TestKeptValuesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Hour, MaxStale: 10})
		for i := range 1000 {
			keep(t, f, strconv.Itoa(i), "value")
			time.Sleep(1)
		}
		require.Equal(t, 10, f.Stats().Kept)
		_, _, err := f.Do(t.Context(), "989", fails)
		require.Equal(t, errCall, err, "the oldest made room")
		_, degraded, err := f.Do(t.Context(), "990", fails)
		require.NoError(t, err)
		require.NotNil(t, degraded)
		time.Sleep(time.Hour)
		require.Zero(t, f.Stats().Kept)

		byDefault := flight.New[string](flight.Config{StaleIfError: time.Hour})
		none := flight.New[string](flight.Config{})
		for i := range 2000 {
			keep(t, byDefault, strconv.Itoa(i), "value")
			keep(t, none, strconv.Itoa(i), "value")
		}
		require.Equal(t, 1024, byDefault.Stats().Kept)
		require.Zero(t, none.Stats().Kept)
	})
}

// A call that began earlier and came back later has the older news.
func TestTheLaterCallIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{StaleIfError: time.Hour})
		ctx, leave := context.WithCancel(t.Context())
		old := do(ctx, f, "k", func(context.Context) (string, error) { time.Sleep(time.Minute); return "old", nil })
		synctest.Wait()
		leave()
		time.Sleep(time.Second)
		keep(t, f, "k", "new")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, result{value: "old", returned: true}, old.got())
		v, degraded, err := f.Do(t.Context(), "k", fails)
		require.NoError(t, err)
		require.Equal(t, "new", v)
		require.Equal(t, time.Minute, degraded.Age)
	})
}

func TestNilMakesEveryCallersOwnCall(t *testing.T) {
	var f *flight.Flights[string]
	v, degraded, err := f.Do(t.Context(), "k", fails)
	require.Equal(t, errCall, err)
	require.Nil(t, degraded)
	require.Equal(t, "half", v)
	require.Zero(t, f.Stats())
}

// Contract: 41
func TestConfig(t *testing.T) {
	for _, cfg := range []flight.Config{
		{StaleIfError: -1},
		{StaleIfError: math.MinInt64},
		{StaleIfError: time.Second, MaxStale: -1},
		{MaxStale: 5},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, "flight: Config.", cfg)
		require.PanicsWithError(t, err.Error(), func() { flight.New[int](cfg) })
	}
	require.NoError(t, flight.Config{}.Validate())
	require.NoError(t, flight.Config{StaleIfError: math.MaxInt64, MaxStale: math.MaxInt}.Validate())
}

// Callers of a few keys come, leave and get every kind of end, all at the same time.
// At rest nothing is left, each call was counted once, and each caller got one end.
//
// Contract: 43, 45
func TestHammer(t *testing.T) {
	f := flight.New[string](flight.Config{StaleIfError: time.Millisecond, MaxStale: 3})
	var made atomic.Int64
	var calls live
	const goroutines, each = 100, 100
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				n := rand.IntN(len(calls.ctxs))
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					go cancel()
				}
				done := make(chan struct{})
				go func() { // a Goexit ends it
					defer close(done)
					defer func() {
						if p := recover(); p != nil && p != any(errCall) {
							t.Error("panicked with", p)
						}
					}()
					v, degraded, err := f.Do(ctx, strconv.Itoa(n), func(ctx context.Context) (string, error) {
						made.Add(1)
						if calls.begin(ctx, n) {
							t.Error("two calls for one key, for both of which somebody waits")
						}
						defer calls.end(ctx, n)
						for range rand.IntN(10) {
							runtime.Gosched()
						}
						switch rand.IntN(10) {
						case 0:
							panic(errCall)
						case 1:
							runtime.Goexit()
						case 2, 3, 4:
							return fails(ctx)
						}
						return strconv.Itoa(n), nil
					})
					switch {
					case degraded != nil && (err != nil || v != strconv.Itoa(n) || degraded.Cause == nil):
						t.Errorf("degraded: %q, %+v, %v", v, degraded, err)
					case err == nil && v != strconv.Itoa(n):
						t.Errorf("%q for key %d", v, n)
					case err != nil && !errors.Is(err, errCall) && (!errors.Is(err, context.Canceled) || ctx.Err() == nil):
						t.Error("another caller's end:", err)
					}
				}()
				<-done
				cancel()
			}
		})
	}
	wg.Wait()
	atRest(t, f)
	s := f.Stats()
	require.Equal(t, made.Load(), s.Started(), "%+v", s)
	require.LessOrEqual(t, s.Kept, 3)
}

// The first caller leaves as its call comes back, ten thousand times. It gets the value
// or its own cancellation, and does not end the call that others have begun meanwhile.
//
// Contract: 45
func TestPhotoFinish(t *testing.T) {
	f := flight.New[string](flight.Config{})
	var calls live
	var made atomic.Int64
	const goroutines, each = 10, 1000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				ctx, cancel := context.WithCancel(t.Context())
				v, _, err := f.Do(ctx, "k", func(ctx context.Context) (string, error) {
					made.Add(1)
					if calls.begin(ctx, 0) {
						t.Error("two calls for one key, for both of which somebody waits")
					}
					defer calls.end(ctx, 0)
					runtime.Gosched()
					cancel()
					return "value", nil
				})
				if err == nil && v != "value" || err != nil && (!errors.Is(err, context.Canceled) || ctx.Err() == nil) {
					t.Errorf("%q, %v", v, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	atRest(t, f)
	require.Equal(t, made.Load(), f.Stats().Started())
}

// live are the contexts of the calls that run, by key.
type live struct {
	mu   sync.Mutex
	ctxs [4]map[context.Context]bool
}

// begin adds a call, and reports whether there was another one that somebody still waits
// for, as somebody does for this one.
func (l *live) begin(ctx context.Context, key int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	another := false
	for other := range l.ctxs[key] {
		another = another || other.Err() == nil && ctx.Err() == nil
	}
	if l.ctxs[key] == nil {
		l.ctxs[key] = map[context.Context]bool{}
	}
	l.ctxs[key][ctx] = true
	return another
}

func (l *live) end(ctx context.Context, key int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ctxs[key], ctx)
}
