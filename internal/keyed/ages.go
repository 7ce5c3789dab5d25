package keyed

import (
	"math"
	"sync/atomic"
	"time"
)

// Ages tell since when a member was not asked for, so that asking reads no clock. Time is
// divided into ages; who asks for a member leaves the number of the present one with it. An
// age ends its length after somebody asked in it first: a timer is set then, once for each
// age and not at all while nobody asks. So it is known of each age when it was over, and
// that nobody has asked since then for a member with its number.
//
// All but now and ticking belongs to whoever holds the Map's lock.
type ages struct {
	now     atomic.Uint32 // the number of the present age, and the mark
	ticking atomic.Bool   // somebody has asked in the present age

	length  time.Duration
	nth     int64                 // age since the map was made
	counted time.Time             // since when the age is counted, where it is ticking
	began   [remembered]time.Time // of each of the last ages, age n at n % remembered
}

const (
	// An age is a quarter of Keys.IdleFor, but not so short that its timer would be a
	// load: a member goes that much later.
	agesInIdleFor = 4
	minAge        = 10 * time.Millisecond
	// remembered is more than there can be in Keys.IdleFor.
	remembered = 2 * agesInIdleFor
	// A state has 31 bits for the number of an age. The last of them are never reached,
	// so that no member's state is that of a dropped one.
	numbers = 1<<31 - remembered
)

func (a *ages) init(idleFor time.Duration) {
	a.length = max(idleFor/agesInIdleFor, minAge)
	a.now.Store(marked)
	a.began[0] = time.Now()
}

// count counts the present age from now on, and returns which it is.
func (a *ages) count(now time.Time) int64 {
	a.counted = now
	a.ticking.Store(true)
	return a.nth
}

// turn begins an age.
func (a *ages) turn(now time.Time) {
	a.nth++
	a.began[a.nth%remembered] = now
	a.ticking.Store(false)                         // first: who asks in the new age has it counted
	a.now.Store(uint32(a.nth%numbers)<<1 | marked) //nolint:gosec // Less than 1<<31.
}

// look turns to another age where the timer is late, or belongs to a clock that stands
// still: that of a test's bubble which is over.
func (a *ages) look(now time.Time) {
	if now.Before(a.began[a.nth%remembered]) { // another clock, on which nothing has a time yet
		for i := range a.began {
			a.began[i] = now
		}
		a.turn(now)
	} else if a.ticking.Load() && now.Sub(a.counted) >= a.length {
		a.turn(now)
	}
}

// idle returns for how long, at the least, nobody has asked for a member in that state.
func (a *ages) idle(state uint32, now time.Time) time.Duration {
	ago := (a.nth%numbers - int64(state>>1) + numbers) % numbers
	switch {
	case ago == 0:
		return 0
	case ago >= remembered:
		return math.MaxInt64
	default:
		return now.Sub(a.began[(a.nth-ago+1)%remembered])
	}
}
