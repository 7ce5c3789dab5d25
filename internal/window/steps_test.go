package window

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A record is Buckets that remember everything.
type record struct {
	Steps

	present int64
	events  map[int64]int64 // by their steps
}

func newRecord(length time.Duration) *record {
	r := &record{events: map[int64]int64{}}
	r.Init(length, r)
	return r
}

func (r *record) Advance(events, steps int64) (empty bool) {
	r.events[r.present] += events
	r.present += steps
	return r.events[r.present] == 0
}

// requireNoneLater takes the events by the steps in which Count returned.
func (r *record) requireNoneLater(t *testing.T, counted map[int64]int64) {
	t.Helper()
	r.Lock()
	defer r.Unlock()
	r.Turn(r.Now(), true)
	var credited, returned int64
	for step := range r.present + 1 {
		credited += r.events[step]
		returned += counted[step]
		require.GreaterOrEqual(t, credited, returned, "by the end of step %d", step)
	}
	require.Equal(t, returned, credited, "and each is credited once")
}

// What an event pays for would be paid for too late otherwise. The steps are so short
// here that the clock turns them in the midst of everything: the timer is late, because
// somebody has the lock, and stops often, because nobody counts for a while.
func TestNoEventIsCreditedToALaterStep(t *testing.T) {
	const length = 20 * time.Microsecond
	r := newRecord(length)
	idle := func(most int) {
		for range rand.IntN(most) {
			runtime.Gosched()
		}
	}
	var mu sync.Mutex
	counted := map[int64]int64{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				for range rand.IntN(20) {
					r.Count()
					step := int64(r.Now() / length)
					mu.Lock()
					counted[step]++
					mu.Unlock()
				}
				idle(2000)
			}
		})
		wg.Go(func() {
			for range 200 {
				r.Lock()
				idle(200)
				r.Turn(r.Now(), rand.IntN(2) == 0)
				idle(200)
				r.Unlock()
				idle(2000)
			}
		})
	}
	wg.Wait()
	r.requireNoneLater(t, counted)
}

// The same with a timer that is late by any number of steps.
func TestNoEventIsCreditedToALaterStepByALateTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(time.Second)
		counted := map[int64]int64{}
		for range 1000 {
			for range rand.IntN(3) {
				r.Count()
				counted[int64(r.Now()/time.Second)]++
			}
			if rand.IntN(2) == 0 {
				r.Lock()
				if r.timer != nil {
					r.timer.Reset(rand.N(5 * time.Second))
				}
				r.Unlock()
			}
			time.Sleep(rand.N(3 * time.Second).Truncate(100 * time.Millisecond))
		}
		r.requireNoneLater(t, counted)
	})
}

// Where the timer is in time, an event is credited to its own step.
func TestTimerTurnsAtTheEndOfAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(time.Second)
		want := map[int64]int64{}
		for range 1000 {
			r.Count()
			want[int64(r.Now()/time.Second)]++
			time.Sleep(rand.N(3 * time.Second).Truncate(100 * time.Millisecond))
			synctest.Wait() // for the timer, which may be due now
		}
		r.Lock()
		defer r.Unlock()
		r.Turn(r.Now(), true)
		for step, n := range want {
			require.Equal(t, n, r.events[step], "step %d", step)
		}
	})
}
