package window

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newWindow(span time.Duration) *Window {
	w := new(Window)
	w.Init(span, 3)
	return w
}

func TestEverySuccessIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10 * time.Second)
		const goroutines, each = 50, 100
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					w.Success()
					time.Sleep(rand.N(80 * time.Millisecond))
				}
			})
		}
		wg.Wait() // less than nine seconds: nothing has left the window
		require.Equal(t, Counts{Successes: goroutines * each}, w.Counts())
	})
}

// A success that comes just as the timer finds the window empty and stops is not
// left without a timer.
func TestTimerStopsAndStartsUnderLoad(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			const step = 10 * time.Millisecond
			w := newWindow(10 * step)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 5 {
						// Around the instant at which an idle window's timer stops.
						time.Sleep(11 * step)
						w.Success()
					}
				})
			}
			wg.Wait()
			require.Equal(t, Counts{Successes: 8}, w.Counts())
			require.True(t, w.steps.ticking.Load())
			time.Sleep(20 * step)
			synctest.Wait()
			require.False(t, w.steps.ticking.Load(), "the timer of an idle window stops")
			require.Nil(t, w.steps.timer)
			require.Equal(t, Counts{}, w.Counts())
		})
	}
}

// The same, with the timer's function called as if it ran at that very instant.
func TestTimerStopsAsASuccessComes(t *testing.T) {
	for i := range 20_000 {
		w := newWindow(10 * time.Hour)
		w.steps.start()
		timer := w.steps.timer
		var ready atomic.Int32
		together := func() {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { together(); w.steps.tick(&timer) })
		wg.Go(func() {
			together()
			for range i % 200 { // somewhere in the midst of tick
				ready.Load()
			}
			w.Success()
		})
		wg.Wait()
		require.Equal(t, Counts{Successes: 1}, w.Counts())
		require.True(t, w.steps.ticking.Load())
		w.steps.timer.Stop()
	}
}

// A failure reads the clock before it has the lock. Another may turn in between:
// that is no other clock.
func TestTimeReadBeforeAnotherTurned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10 * time.Second)
		before := w.steps.Now()
		time.Sleep(5 * time.Second)
		w.Failure(false)
		w.steps.Lock()
		w.steps.Turn(before, false)
		w.steps.Unlock()
		require.Equal(t, Counts{Failures: 1}, w.Counts())
	})
}

// What a failure is told lacks at most the successes of the present step, and what
// is read lacks none.
func TestFailureIsToldOfEndedSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10 * time.Second)
		w.Success()
		require.Equal(t, Counts{Successes: 1, Failures: 1}, w.Failure(false), "too few not to look")
		w.Success()
		require.Equal(t, Counts{Successes: 1, Failures: 2}, w.Failure(false))
		time.Sleep(time.Second + 1)
		w.Success()
		require.Equal(t, Counts{Successes: 2, Failures: 3}, w.Failure(false))
		require.Equal(t, Counts{Successes: 3, Failures: 3}, w.Counts())
		require.Equal(t, Counts{Successes: 4, Failures: 3, Slow: 1}, w.SlowSuccess())
	})
}

// A success that is revoked is taken out of the step that it was counted in, so that it
// does not leave the window a second time.
func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10 * time.Second)
		revoke := func(at time.Duration) Counts { w.Revoke(at); return w.Counts() }
		w.Success()
		at := w.Now()
		require.Equal(t, Counts{Failures: 1}, revoke(at), "in the same step")

		for i := range 12 {
			time.Sleep(100*time.Second + time.Duration(i)) // all that was is forgotten
			w.Success()
			w.Success()
			at = w.Now()
			time.Sleep(time.Duration(i) * time.Second)
			synctest.Wait()
			w.Success()
			want := Counts{Successes: 2, Failures: 1}
			if i >= 10 {
				want = Counts{Successes: 1, Failures: 1} // the window has moved past it
			}
			require.Equal(t, want, revoke(at), "after %d s", i)
			for range 100 {
				time.Sleep(250 * time.Millisecond)
				got := w.Counts()
				require.LessOrEqual(t, got.Successes, want.Successes)
				require.GreaterOrEqual(t, got.Successes, int64(0))
				want = got
			}
			require.Equal(t, Counts{}, want)
		}

		w.SlowSuccess()
		require.Equal(t, Counts{Failures: 1, Slow: 1}, revoke(w.Now()), "it was slow all the same")
		require.Equal(t, Counts{Failures: 2, Slow: 1}, revoke(w.Now()), "there is none to revoke")
	})
}

func TestSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10 * time.Second)
		for range 30 {
			w.Success()
			w.Failure(false)
			w.Failure(true)
			w.SlowSuccess()
			time.Sleep(time.Second + 1)
		}
		require.Equal(t, Counts{Successes: 2 * 9, Failures: 2 * 9, Slow: 2 * 9}, w.Counts())
		time.Sleep(time.Hour)
		require.Equal(t, Counts{}, w.Counts())
	})
}

// Regression: a timer lives and dies with the bubble that made it. A window that
// is used in one bubble after another must go on turning.
func TestOutlivesTheBubbleOfItsTimer(t *testing.T) {
	w := newWindow(10 * time.Second)
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			w.Failure(false) // the clock has jumped
			for range 5 {
				w.Success()
			}
			require.EqualValues(t, 5, w.Counts().Successes)
			time.Sleep(20 * time.Second)
			require.Equal(t, Counts{}, w.Counts())
			w.Success()
			time.Sleep(9500 * time.Millisecond)
			w.Success()
			time.Sleep(2 * time.Second)
			require.Equal(t, Counts{Successes: 1}, w.Counts(), "a timer of this bubble tells the steps apart")
			for range 5 {
				w.Success() // the bubble ends with its timer set
			}
		})
	}
	w.Success()
	w.Failure(false)
	w.Success()
	require.GreaterOrEqual(t, w.Counts().Successes, int64(1))
	require.EqualValues(t, 1, w.Counts().Failures)
}
