package ratelimit

import (
	"sync/atomic"
	"time"
)

// An alarm is the one timer of a limiter. It is set while somebody waits, for when
// the tokens of the first in the queue come, and while tokens are lent, for the end
// of the lease. With it is what else only few of many limiters need.
type alarm struct {
	ring      func()
	timer     *time.Timer
	at        time.Duration
	set       bool
	bubbled   bool          // the timer is of a bubble of testing/synctest
	leaseEnds time.Duration // as long as something is lent

	own      own
	observed atomic.Int64 // calls that found no token while nothing was refused

	crowded atomic.Bool // callers have collided on the lease
	stripes []part      // nil until the first lease after that; of one length for ever
}

func (a *alarm) isSet() bool { return a != nil && a.set }

// start sets the alarm for an instant, which comes after so much time. Among bubbles, each
// time takes a timer of its own: one of a bubble that is over does not go off, even if it is
// reset. Outside of bubbles, the timer of a bubble must not be touched.
func (a *alarm) start(at, after time.Duration) {
	bubbled := inBubble()
	switch {
	case a.timer == nil || a.bubbled && !bubbled:
		a.timer = time.AfterFunc(after, a.ring)
	case bubbled:
		a.timer.Stop()
		a.timer = time.AfterFunc(after, a.ring)
	default:
		a.timer.Reset(after)
	}
	a.set, a.at, a.bubbled = true, at, bubbled
}

// stop switches the alarm off.
func (a *alarm) stop() {
	if !a.isSet() {
		return
	}
	a.set = false
	if !a.bubbled || inBubble() {
		a.timer.Stop()
	}
}

// inBubble reports whether the caller runs in a bubble of testing/synctest. The clock of a
// bubble has no monotonic reading.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:revive // Equal is blind to the monotonic reading.
}

// needAlarm returns the alarm. The caller holds mu.
func (l *Limiter) needAlarm() *alarm {
	if l.alarm == nil {
		l.alarm = &alarm{ring: l.ring}
	}
	return l.alarm
}

// setAlarm sets the alarm, or switches it off. An alarm that is set for an earlier
// instant than needed stays, but for one of a bubble, which may be over: it is set again
// when it goes off. The caller holds mu, and
// the bucket's time is the present.
func (l *Limiter) setAlarm() {
	var at time.Duration
	switch {
	case l.queue.first() != nil:
		at = l.bucket.due(int64(l.queue.head.n))
	case l.bucket.lent > 0:
		at = l.alarm.leaseEnds
	default:
		l.alarm.stop()
		return
	}
	a := l.needAlarm()
	if a.set && !a.bubbled && a.at <= at {
		return
	}
	a.start(at, at-l.bucket.now)
}

// ring is what the alarm does. One that was switched off as it went off does no
// harm: what is not due stays as it is.
func (l *Limiter) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm.set = false
	l.advance() // what the alarm is set from again, if it is too early
	if l.queue.first() != nil || l.bucket.now >= l.alarm.leaseEnds {
		l.enter()
	}
	l.setAlarm()
}
