package window

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newWindow(span time.Duration) *Window {
	w := new(Window)
	w.Init(span)
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
			require.True(t, w.ticking.Load())
			time.Sleep(20 * step)
			synctest.Wait()
			require.False(t, w.ticking.Load(), "the timer of an idle window stops")
			require.Nil(t, w.timer)
			require.Equal(t, Counts{}, w.Counts())
		})
	}
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
