package breaker

import (
	"context"

	"github.com/crumplezone/stability"
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

// String returns "auto", "forced_open" or "forced_closed".
func (m Mode) String() string {
	switch m {
	case ForcedOpen:
		return "forced_open"
	case ForcedClosed:
		return "forced_closed"
	default:
		return "auto"
	}
}

// ForceOpen refuses every call until Auto, ForceClosed or Reset.
func (b *Breaker) ForceOpen() {
	b.force(ForcedOpen, func() *stay {
		s := &stay{b: b, state: Open}
		s.ready.Store(&stability.Rejection{Policy: policy, Name: b.cfg.Name, Key: b.key, Reason: ErrOpen})
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
	b.mu.Lock()
	if b.mode != mode {
		b.mode = mode
		b.show(made(), CauseForced)
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
	b.mu.Lock()
	was, forced := b.mode, b.stay.Load()
	b.mode = Auto
	if was == ForcedClosed {
		counts := forced.window.Counts()
		switch why := b.cause(forced, counts); {
		case why != "":
			b.open(why)
		case counts.Calls() >= int64(b.cfg.MinCalls):
			b.streak = 0
			b.enter(forced, CauseAuto)
		}
	}
	if b.stay.Load() != b.real {
		b.show(b.real, CauseAuto)
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
	b.mu.Lock()
	b.mode = Auto
	b.streak = 0
	b.enter(b.newClosed(), CauseReset)
	b.unlockAndTell(context.Background())
}
