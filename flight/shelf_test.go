package flight

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A flight that landed late walked over all values that were newer than its own, and a
// scrape over all that had become too old, with everybody else waiting. The one costs the
// logarithm of their number, and the other goes a few at a time.
func TestShelfOfManyValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const values = 100_000
		s := shelf[int]{max: values, maxAge: time.Hour, byKey: map[string]*good[int]{}}
		began := time.Now()
		for n := range values {
			s.put(strconv.Itoa(n), n, began.Add(time.Duration(n)))
		}
		places := map[string]int{}
		for key, g := range s.byKey {
			places[key] = g.place
		}
		s.put("late", 0, began.Add(values/2)) // makes room with the oldest
		moved := 0
		for key, place := range places {
			if g, ok := s.byKey[key]; ok && g.place != place {
				moved++
			}
		}
		require.Less(t, moved, 64)
		require.Equal(t, values, s.len())

		time.Sleep(2 * time.Hour)
		require.True(t, s.expire(time.Now()))
		require.Equal(t, values-expiries, s.len())
		_, _, ok := s.get("99999", time.Now())
		require.False(t, ok, "though it is not its turn yet")
		for s.expire(time.Now()) {
		}
		require.Zero(t, s.len())
		require.Empty(t, s.byKey)
	})
}

// However values come, the oldest go first, and none answers that is too old.
func TestShelfKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shelf[int]{max: 3, maxAge: time.Minute, byKey: map[string]*good[int]{}}
		now := time.Now()
		for _, at := range []time.Duration{5, 2, 4, 1, 3} {
			s.put(strconv.Itoa(int(at)), int(at), now.Add(-at*time.Second))
		}
		for n := 1; n <= 5; n++ {
			v, age, ok := s.get(strconv.Itoa(n), now)
			require.Equal(t, n <= 3, ok)
			if ok {
				require.Equal(t, n, v)
				require.Equal(t, time.Duration(n)*time.Second, age)
			}
		}
		s.put("3", 30, now.Add(-4*time.Second))
		v, _, _ := s.get("3", now)
		require.Equal(t, 3, v, "a later one is there")
		s.put("3", 31, now)
		s.put("4", 4, now)
		_, _, ok := s.get("2", now)
		require.False(t, ok)
		s.drop("3", now.Add(-time.Second))
		_, _, ok = s.get("3", now)
		require.True(t, ok, "it was good after that time")
		s.drop("3", now)
		_, _, ok = s.get("3", now)
		require.False(t, ok)
	})
}
