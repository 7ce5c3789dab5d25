package ratelimit

import (
	"sync/atomic"
	"time"
)

// An alarm is the one timer of a limiter. It is set while somebody waits, for when
// the tokens of the first in the queue come, and while tokens are lent, for the end
// of the lease. With it is what else only a busy limiter needs.
type alarm struct {
	timer     *time.Timer
	at        time.Duration
	set       bool
	leaseEnds time.Duration // as long as something is lent

	crowded atomic.Bool // callers have collided on the lease
	stripes []part      // nil until the first lease after that; of one length for ever
}

func (a *alarm) isSet() bool { return a != nil && a.set }

// needAlarm returns the alarm. The caller holds mu.
func (l *Limiter) needAlarm() *alarm {
	if l.alarm == nil {
		l.alarm = new(alarm)
	}
	return l.alarm
}

// setAlarm sets the alarm, or switches it off. An alarm that is set for an earlier
// instant than needed stays: it is set again when it goes off. The caller holds mu, and
// the bucket's time is the present.
func (l *Limiter) setAlarm() {
	var at time.Duration
	switch {
	case l.queue.first() != nil:
		at = l.bucket.due(int64(l.queue.head.n))
	case l.bucket.lent > 0:
		at = l.alarm.leaseEnds
	default:
		if l.alarm.isSet() {
			l.alarm.set = false
			l.alarm.timer.Stop()
		}
		return
	}
	a := l.needAlarm()
	if a.set && a.at <= at {
		return
	}
	a.set, a.at = true, at
	if a.timer == nil {
		a.timer = time.AfterFunc(at-l.bucket.now, l.ring)
	} else {
		a.timer.Reset(at - l.bucket.now)
	}
}

// ring is what the alarm does. One that was switched off as it went off does no
// harm: what is not due stays as it is.
func (l *Limiter) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm.set = false
	l.bucket.advance(l.now()) // what the alarm is set from again, if it is too early
	if l.queue.first() != nil || l.bucket.now >= l.alarm.leaseEnds {
		l.enter()
	}
	l.setAlarm()
}
