package bulkhead

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
)

// maxLimit is what the word of a Bulkhead has room for.
const maxLimit = 1<<30 - 1

// Config configures a [Bulkhead]. Limit must be set; the zero value of every other
// field is valid.
type Config struct {
	// Name names the bulkhead in refusals and telemetry. Default "".
	Name string
	// Limit is how many calls may run at the same time, from 1 to 1<<30 - 1. No
	// default.
	Limit int
	// Queue is how many more calls may wait for a permit. Default 0: none waits,
	// and a call that finds no permit is refused at once.
	Queue int
	// MaxWait is how long a call may wait in the queue. Default 0: as long as its
	// context lets it.
	MaxWait time.Duration
	// Observe makes the bulkhead hand out permits and count, and refuse nothing nor let anybody
	// wait: Stats.Observed counts the calls that found no permit. They hold none. Default
	// false.
	Observe bool
	// Classify judges how calls ended, for Stats and telemetry only. Default
	// [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns all that is not usable, each with the field and its value: the error
// that [New] panics with.
func (c Config) Validate() error {
	p := check.Of("bulkhead: Config")
	p.If(c.Limit <= 0, "Limit", c.Limit, "must be positive")
	p.If(c.Limit > maxLimit, "Limit", c.Limit, fmt.Sprintf("must be at most %d", maxLimit))
	p.If(c.Queue < 0, "Queue", c.Queue, "must not be negative")
	p.If(c.MaxWait < 0, "MaxWait", c.MaxWait, "must not be negative")
	p.If(c.MaxWait > 0 && c.Queue == 0, "MaxWait", c.MaxWait, "needs a Config.Queue to wait in")
	return p.Err()
}

// Config returns the configuration in force, with Limit as SetLimit may have changed it.
func (b *Bulkhead) Config() Config {
	if b == nil {
		return Config{}
	}
	cfg := *b.live.Config()
	cfg.Limit = b.capacity()
	return cfg
}

// Reconfigure puts another configuration in force. A lower Limit interrupts no call: no permit
// is granted until fewer are in use. A higher one wakes calls that wait. Calls in the queue
// keep their places, and the time that they may wait, also where Queue is smaller than there are: that
// is for calls that come from now on. Name and MeterProvider stay as they were. An unusable cfg
// changes nothing, and Reconfigure returns the error of Validate. A member of a Group is
// changed through [Group.Reconfigure], or by SetLimit.
func (b *Bulkhead) Reconfigure(cfg Config) error {
	if b == nil {
		return nil
	}
	if b.group != nil {
		return fmt.Errorf("bulkhead: %w", live.ErrMember)
	}
	return b.reconfigure(cfg, func() {
		b.own.Store(0)
		b.apply()
	})
}

// SetMode puts a mode in force: ModeOn, which does what the Config says, ModeObserve, ModeOff or
// ModeOpen. Calls in the queue are let in by ModeObserve and ModeOff, and refused by ModeOpen.
// The mode stays through Reconfigure. A member of a Group has the mode of its Group.
func (b *Bulkhead) SetMode(mode stability.Mode) error {
	if b == nil {
		return nil
	}
	if b.group != nil {
		return fmt.Errorf("bulkhead: %w", live.ErrMember)
	}
	return b.setMode(mode, b.apply)
}

// SetLimit changes how many calls may run at the same time. Below what is in use,
// nothing is interrupted: no permit is granted until enough have come back. Above,
// it wakes those who wait. It returns an error, and changes nothing, when limit is
// not from 1 to 1<<30 - 1. A member of a Group keeps its limit when the Group is
// reconfigured; SetLimit with that of the Config ends this.
func (b *Bulkhead) SetLimit(limit int) error {
	if b == nil {
		return nil
	}
	if limit <= 0 || limit > maxLimit {
		return fmt.Errorf("bulkhead: limit %d is not from 1 to %d", limit, maxLimit)
	}
	if limit == b.live.Config().Limit {
		limit = 0
	}
	b.own.Store(uint32(limit))
	b.apply()
	return nil
}

// capacity returns how many permits there are.
func (b *Bulkhead) capacity() int {
	if own := b.own.Load(); own != 0 {
		return int(own)
	}
	return b.live.Config().Limit
}

// apply lets the bulkhead follow the configuration in force.
func (b *Bulkhead) apply() {
	b.mu.Lock()
	b.reclaim()
	limit := 0
	if b.mode() == stability.ModeOn {
		limit = b.capacity()
	}
	b.limit.Store(uint32(limit))                                 //nolint:gosec // At most maxLimit.
	b.lowered = limit > 0 && int(b.word.Load()&permits) >= limit //nolint:gosec // It has no more bits.
	b.unlock(0)
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
