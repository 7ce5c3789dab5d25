package window

import (
	"math/rand/v2"
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

// What an event pays for would be paid for too late otherwise. Here the timer is often
// late, because somebody has the lock, and stops often, because nobody counts.
func TestNoEventIsCreditedToALaterStep(t *testing.T) {
	const length = time.Millisecond // real time, so that the steps turn in the midst of everything
	r := newRecord(length)
	var mu sync.Mutex
	counted := map[int64]int64{} // events, by the step in which Count returned
	stop := make(chan struct{})
	var others, counters sync.WaitGroup
	for _, turns := range []bool{false, true} {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(rand.N(3 * length)):
				}
				r.Lock()
				if turns {
					r.Turn(r.Now(), true)
				} else {
					time.Sleep(rand.N(5 * length))
				}
				r.Unlock()
			}
		})
	}
	for range 8 {
		counters.Go(func() {
			for range 100 {
				for range rand.IntN(50) {
					r.Count()
					step := int64(r.Now() / length)
					mu.Lock()
					counted[step]++
					mu.Unlock()
				}
				time.Sleep(rand.N(8 * length))
			}
		})
	}
	counters.Wait()
	close(stop)
	others.Wait()
	time.Sleep(2 * length)
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
