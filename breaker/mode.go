package breaker

import (
	"context"
	"time"
)

// A Mode says who decides about calls.
type Mode uint8

// The modes.
const (
	// Auto: the breaker decides.
	Auto Mode = iota
	// ForcedOpen: every call is refused.
	ForcedOpen
	// ForcedClosed: no call is refused.
	ForcedClosed
)

// ForceOpen refuses every call until Auto, ForceClosed or Reset, with [ErrForcedOpen]. It
// does so with Config.Observe too: it is not the breaker that decides then.
func (b *Breaker) ForceOpen() {
	b.force(ForcedOpen, func() *stay {
		s := &stay{b: b, state: Open}
		r := b.refusal(0)
		r.Reason = ErrForcedOpen
		s.ready.Store(r)
		return s
	})
}

// ForceClosed refuses no call until Auto, ForceOpen or Reset. Calls are still
// counted.
func (b *Breaker) ForceClosed() {
	b.force(ForcedClosed, func() *stay {
		if b.real.state == Closed {
			b.real.ramping.Store(false)
			b.streak = 0
			return b.real
		}
		return b.newClosed()
	})
}

func (b *Breaker) force(mode Mode, made func() *stay) {
	if b == nil {
		return
	}
	now := b.lockToSwitch()
	if b.mode != mode {
		b.mode = mode
		b.show(made(), now, b.switched(CauseForced))
	}
	b.unlockAndTell(context.Background())
}

// Auto ends ForceOpen and ForceClosed. What calls returned while the breaker was
// forced closed decides its state where there were MinCalls of them; otherwise it
// is in the state that it had reached before it was forced.
func (b *Breaker) Auto() {
	if b == nil {
		return
	}
	now := b.lockToSwitch()
	was, forced := b.mode, b.stay.Load()
	why := b.switched(CauseAuto)
	b.mode = Auto
	if was == ForcedClosed {
		switch cause := b.cause(forced, why.counts); {
		case cause != "":
			b.open(now, reason{cause: cause, counts: why.counts})
		case why.counts.Calls() >= int64(b.cfg.MinCalls):
			b.streak = 0
			b.enter(forced, now, why)
		}
	}
	if b.stay.Load() != b.real {
		b.show(b.real, now, why)
	}
	b.unlockAndTell(context.Background())
}

// Reset closes the breaker and forgets what it has seen: the window, the growth of
// the open time, the ramp, a forced mode. Calls under way do not count in the new
// window. Totals in Stats go on.
func (b *Breaker) Reset() {
	if b == nil {
		return
	}
	now := b.lockToSwitch()
	why := b.switched(CauseReset)
	b.mode = Auto
	b.streak = 0
	b.enter(b.newClosed(), now, why)
	b.unlockAndTell(context.Background())
}

// lockToSwitch locks mu and takes the steps that only time has to take.
func (b *Breaker) lockToSwitch() time.Time {
	now := b.lock()
	b.lapse(now)
	return now
}

// switched is why the state changes where somebody says so. The caller holds mu.
func (b *Breaker) switched(cause Cause) reason {
	why := reason{cause: cause}
	if s := b.stay.Load(); s.state == Closed {
		why.counts = s.window.Counts()
	}
	return why
}
