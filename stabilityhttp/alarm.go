package stabilityhttp

import (
	"sync"
	"sync/atomic"
	"time"
)

// An alarm rings a clock: when a time has come, or as the function that the clock's parent
// calls at its end. It may ring for nothing, and the clock looks whether there is a reason.
// That lets an alarm be used for one clock after the other, although it may still ring for
// a former one: a timer and the functions for both are three allocations.
type alarm struct {
	clock atomic.Pointer[clock] // nil: nobody's
	ring  func()
	timer *time.Timer // nil: was never set
	once  bool        // it is not used again
}

var alarms sync.Pool

// newAlarm returns an alarm for c. Inside a synctest bubble it is a new one, as its timer
// belongs to the bubble.
func newAlarm(c *clock) *alarm {
	began := c.owner.x.began
	// Times have no monotonic reading there.
	inBubble := began == began.Round(0) //nolint:revive // Equal is blind to that reading.
	var a *alarm
	if !inBubble {
		a, _ = alarms.Get().(*alarm)
	}
	if a == nil {
		a = &alarm{once: inBubble}
		a.ring = func() {
			if c := a.clock.Load(); c != nil {
				c.ring()
			}
		}
	}
	a.clock.Store(c)
	return a
}

// set sets the time at which a rings.
func (a *alarm) set(d time.Duration) {
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.ring)
		return
	}
	a.timer.Reset(d)
}

// free gives a up.
func (a *alarm) free() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.clock.Store(nil)
	if !a.once {
		alarms.Put(a)
	}
}
