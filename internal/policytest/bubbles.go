package policytest

import (
	"testing"
	"testing/synctest"
)

// AcrossBubbles tests that what is made under one clock can be used under another: a
// policy in a package variable that is used in a synctest bubble, and one that outlives
// the bubble that it was made in. A bubble's clock begins in the year 2000, and timers
// and channels of a bubble kill the process when they are touched from outside.
//
// made makes the thing and brings it into the state that it is to be used in; use uses
// it up. Both may sleep: for milliseconds only, since some of it is real time.
func AcrossBubbles[T any](t *testing.T, made func(testing.TB) T, use func(testing.TB, T)) {
	t.Helper()
	within := func(t *testing.T, f func(testing.TB)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) { f(t) })
	}
	t.Run("made outside, used in a bubble", func(t *testing.T) {
		v := made(t)
		within(t, func(t testing.TB) { use(t, v) })
	})
	t.Run("made in a bubble, used outside", func(t *testing.T) {
		var v T
		within(t, func(t testing.TB) { v = made(t) })
		use(t, v)
	})
	t.Run("made in a bubble, used in the next", func(t *testing.T) {
		var v T
		within(t, func(t testing.TB) { v = made(t) })
		within(t, func(t testing.TB) { use(t, v) })
	})
}
