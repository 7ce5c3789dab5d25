package breaker

import (
	"context"
	"time"

	"github.com/crumplezone/stability"
)

// ForceOpen refuses every call until Auto, ForceClosed or Reset, with [ErrForcedOpen]. It
// does so with Config.Observe too: it is not the breaker that decides then.
func (b *Breaker) ForceOpen() {
	b.switchTo(stability.ModeOpen)
}

// ForceClosed refuses no call until Auto, ForceOpen or Reset. Calls are still
// counted.
func (b *Breaker) ForceClosed() {
	b.switchTo(stability.ModeOff)
}

// switchTo refuses every call, or none, and tells of it.
func (b *Breaker) switchTo(mode stability.Mode) {
	if b == nil {
		return
	}
	now := b.lockToSwitch()
	b.force(mode, now)
	b.unlockAndTell(context.Background())
}

// follow does what the mode in force says. It looks for that with mu held, so that the last
// mode that was set is what all members come to.
func (b *Breaker) follow() {
	now := b.lockToSwitch()
	switch mode := b.live.Load().Mode; mode {
	case stability.ModeOff, stability.ModeOpen:
		b.force(mode, now)
	default:
		b.auto(now)
	}
	b.unlockAndTell(context.Background())
}

// force does not leave it to the breaker. The caller holds mu.
func (b *Breaker) force(mode stability.Mode, now time.Time) {
	if b.mode == mode {
		return
	}
	b.mode = mode
	var s *stay
	switch {
	case mode == stability.ModeOpen:
		s = b.newForced()
	case b.real.state == Closed:
		b.real.ramping.Store(false)
		b.streak = 0
		s = b.real
	default:
		s = b.newClosed()
	}
	b.show(s, now, b.switched(CauseForced))
}

// newForced returns a stay that refuses every call until somebody says otherwise.
func (b *Breaker) newForced() *stay {
	s := &stay{b: b, state: Open}
	r := b.refusal(0)
	r.Reason = ErrForcedOpen
	s.ready.Store(r)
	return s
}

// Auto ends ForceOpen and ForceClosed. What calls returned while the breaker was
// forced closed decides its state where there were MinCalls of them; otherwise it
// is in the state that it had reached before it was forced.
func (b *Breaker) Auto() {
	if b == nil {
		return
	}
	now := b.lockToSwitch()
	b.auto(now)
	b.unlockAndTell(context.Background())
}

// auto leaves it to the breaker again. The caller holds mu.
func (b *Breaker) auto(now time.Time) {
	was, forced := b.mode, b.stay.Load()
	why := b.switched(CauseAuto)
	b.mode = stability.ModeOn
	if was == stability.ModeOff {
		switch cause := b.cause(forced, why.counts); {
		case cause != "":
			b.open(now, reason{cause: cause, counts: why.counts})
		case why.counts.Calls() >= int64(b.config().MinCalls):
			b.streak = 0
			b.enter(forced, now, why)
		}
	}
	if b.stay.Load() != b.real {
		b.show(b.real, now, why)
	}
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
	b.mode = stability.ModeOn
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
