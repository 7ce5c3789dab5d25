package ratelimit

import "time"

// An alarm is the one timer of a limiter. It is set while somebody waits, for when
// the tokens of the first in the queue come, and while tokens are lent, for the end
// of the lease.
type alarm struct {
	timer *time.Timer // nil: never set
	at    time.Duration
	set   bool
}

// setAlarm sets the alarm, or switches it off. An alarm that is set for an earlier
// instant than needed stays: it is set again when it goes off. The caller holds mu.
func (l *Limiter) setAlarm() {
	a := &l.alarm
	var at time.Duration
	switch {
	case l.queue.head != nil:
		at = l.bucket.due(int64(l.queue.head.n))
	case l.bucket.lent > 0:
		at = l.lender.ends
	default:
		if a.set {
			a.set = false
			a.timer.Stop()
		}
		return
	}
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
	if l.queue.len > 0 || l.now() >= l.lender.ends {
		l.enter()
	}
	l.setAlarm()
}
