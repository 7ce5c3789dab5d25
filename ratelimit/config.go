package ratelimit

import (
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
)

// maxBurst keeps a bucket's tokens where a float64 tells a millionth of one.
const maxBurst = 1 << 30

// Config configures a [Limiter]. Rate must be set; the zero value of every other
// field is valid.
type Config struct {
	// Name names the limiter in refusals and telemetry. Default "".
	Name string
	// Rate is how many calls a second are let in over time, positive and finite. No
	// default.
	Rate float64
	// Burst is how many calls are let in at once after a quiet time, at most 1<<30.
	// Default 0: a tenth of a second's worth of Rate, at least 1, also after SetRate.
	Burst int
	// MaxWait is how long a call that finds no token may wait for one in Run and
	// Enter. Default 0: it does not wait, and is refused at once.
	MaxWait time.Duration
	// Observe makes the limiter take tokens and count, and refuse nothing nor let anybody wait:
	// Stats.Observed counts the calls that found no token. Default false.
	Observe bool
	// Classify judges how calls ended, for Stats and telemetry only. Default
	// [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("ratelimit: Config")
	p.If(!validRate(c.Rate), "Rate", c.Rate, "must be positive and finite")
	p.If(c.Burst < 0, "Burst", c.Burst, "must not be negative")
	p.If(c.Burst > maxBurst, "Burst", c.Burst, fmt.Sprintf("must be at most %d", maxBurst))
	p.If(c.MaxWait < 0, "MaxWait", c.MaxWait, "must not be negative")
	return p.Err()
}

func validRate(r float64) bool { return r > 0 && r <= math.MaxFloat64 }

func (c Config) burst() int {
	if c.Burst > 0 {
		return c.Burst
	}
	return defaultBurst(c.Rate)
}

// defaultBurst is the burst at a rate for which nobody set one.
func defaultBurst(perSecond float64) int { return int(max(1, min(perSecond/10, maxBurst))) }

// Config returns the configuration in force, with Rate and Burst as SetRate and SetBurst may
// have changed them.
func (l *Limiter) Config() Config {
	if l == nil {
		return Config{}
	}
	cfg := *l.live.Config()
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.own()
	if own.rate {
		cfg.Rate = l.bucket.rate
	}
	if own.burst {
		cfg.Burst = int(l.bucket.burst)
	}
	return cfg
}

// Reconfigure puts another configuration in force. Tokens that were spent stay spent, and
// saved tokens above a smaller burst are lost. Calls in the queue keep their places; those that
// can no longer be served in time, or wait for more tokens than the burst, are refused. Another
// MaxWait is for calls that come from now on. Name and MeterProvider stay as they were. An
// unusable cfg changes nothing, and Reconfigure returns the error of Validate. A member of a
// Group is changed through [Group.Reconfigure], or by SetRate and SetBurst.
//
// Reconfigure takes time by the number of calls in the queue, during which no call is let in.
func (l *Limiter) Reconfigure(cfg Config) error {
	if l == nil {
		return nil
	}
	if l.group != nil {
		return fmt.Errorf("ratelimit: %w", live.ErrMember)
	}
	return l.reconfigure(cfg, func() {
		l.mu.Lock()
		if l.alarm != nil {
			l.alarm.own = own{}
		}
		l.mu.Unlock()
		l.apply()
	})
}

// SetMode puts a mode in force: ModeOn, which does what the Config says, ModeObserve, ModeOff or
// ModeOpen. Calls in the queue are let in by ModeObserve and ModeOff, and refused by ModeOpen.
// The mode stays through Reconfigure. A member of a Group has the mode of its Group.
func (l *Limiter) SetMode(mode stability.Mode) error {
	if l == nil {
		return nil
	}
	if l.group != nil {
		return fmt.Errorf("ratelimit: %w", live.ErrMember)
	}
	return l.setMode(mode, l.apply)
}

// SetRate changes how many calls a second are let in from now on. The burst goes with
// it where neither Config.Burst nor [Limiter.SetBurst] set one. A member of a Group keeps
// its rate when the Group is reconfigured; SetRate with that of the Config ends this. Calls
// in the queue keep their places; those that can no longer be served in time, or wait for more
// tokens than the burst, are refused. It returns an error, and changes nothing, when perSecond is not positive and
// finite.
func (l *Limiter) SetRate(perSecond float64) error {
	if l == nil {
		return nil
	}
	if !validRate(perSecond) {
		return fmt.Errorf("ratelimit: rate %v is not positive and finite", perSecond)
	}
	l.change(func() {
		l.bucket.setRate(perSecond)
		cfg := l.live.Config()
		if cfg.Burst == 0 && !l.own().burst {
			l.bucket.setBurst(defaultBurst(perSecond))
		}
		l.needAlarm().own.rate = perSecond != cfg.Rate
	})
	return nil
}

// SetBurst changes how many calls are let in at once. Tokens above it are lost;
// those who wait for more tokens are refused. It returns an error, and changes
// nothing, when burst is not from 1 to 1<<30.
func (l *Limiter) SetBurst(burst int) error {
	if l == nil {
		return nil
	}
	if burst <= 0 || burst > maxBurst {
		return fmt.Errorf("ratelimit: burst %d is not from 1 to %d", burst, maxBurst)
	}
	l.change(func() {
		l.bucket.setBurst(burst)
		l.needAlarm().own.burst = burst != l.live.Config().Burst
	})
	return nil
}

// own says what of a limiter is not as the Config has it.
type own struct{ rate, burst bool }

// own returns what was set. The caller holds mu.
func (l *Limiter) own() own {
	if l.alarm == nil {
		return own{}
	}
	return l.alarm.own
}

// apply lets the limiter follow the configuration in force.
func (l *Limiter) apply() {
	l.change(func() {
		cfg, own := l.live.Config(), l.own()
		if !own.rate {
			l.bucket.setRate(cfg.Rate)
		}
		switch {
		case own.burst:
		case cfg.Burst == 0:
			l.bucket.setBurst(defaultBurst(l.bucket.rate))
		default:
			l.bucket.setBurst(cfg.Burst)
		}
	})
}

func (s *settings) reconfigure(cfg Config, apply func()) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	return s.live.Change(func(now *live.State[Config]) error {
		cfg.Name, cfg.MeterProvider = now.Config.Name, now.Config.MeterProvider
		now.Config = cfg
		return nil
	}, apply)
}

func (s *settings) setMode(mode stability.Mode, apply func()) error {
	return s.live.SetMode(policy, mode, apply, stability.ModeOn, stability.ModeObserve, stability.ModeOff, stability.ModeOpen)
}

// mode returns the mode in force, which Config.Observe may have made ModeObserve.
func (s *settings) mode() stability.Mode {
	now := s.live.Load()
	if now.Mode == stability.ModeOn && now.Config.Observe {
		return stability.ModeObserve
	}
	return now.Mode
}
