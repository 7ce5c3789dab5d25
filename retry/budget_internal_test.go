package retry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability/internal/policytest"
)

// The clock goes on here while the timer stands still, as on a machine that is too
// busy to run it, or that was suspended. Calls then count for less time, and no span
// of a Window has more retries than its calls and the floor pay for.
//
// Contract: 30
func TestBudgetBoundHoldsWhenTheTimerIsLate(t *testing.T) {
	const (
		window = 1000 * time.Hour
		step   = window / slots
		ratio  = 0.5
		floor  = 3.5
		minute = time.Minute // more than a script takes
	)
	type happened struct{ calls, spent int }
	rapid.Check(t, func(rt *rapid.T) {
		b := NewBudget(BudgetConfig{Ratio: ratio, MinPerSecond: floor / window.Seconds(), Window: window})
		var now time.Duration
		history := map[time.Duration]happened{} // the calls and retries of the moments at which there were any
		within := func(span time.Duration) (sum happened) {
			for at, h := range history {
				if at > now-span {
					sum.calls += h.calls
					sum.spent += h.spent
				}
			}
			return sum
		}
		for range rapid.IntRange(1, 50).Draw(rt, "moments") {
			h := history[now]
			for range rapid.IntRange(0, 20).Draw(rt, "calls") {
				b.earn(nil)
				h.calls++
			}
			history[now] = h
			for range rapid.IntRange(0, 20).Draw(rt, "spends") {
				if !b.Spend() {
					break
				}
				h.spent++
				history[now] = h
				paid := ratio*float64(within(window).calls) + floor
				require.LessOrEqual(rt, float64(within(window-minute).spent), paid, "after %v", now)
			}

			pass := time.Duration(rapid.Int64Range(0, int64(3*step/minute)).Draw(rt, "pass")) * minute
			policytest.Elapse(t, b, pass, pass)
			now += pass
			if rapid.Bool().Draw(rt, "look") {
				b.Stats()
			}
		}
	})
}
