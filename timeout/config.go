package timeout

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
)

// Config configures a [Timeout]. After must be set; the zero value of every other
// field is valid.
type Config struct {
	// Name names the timeout in errors and telemetry. Default "".
	Name string
	// After is how long a call may take. Its context ends then. No default.
	After time.Duration
	// Observe makes the timeout watch how long calls take, and bound nothing: a call runs under
	// its caller's context, and Stats.Observed counts it where it took longer than After.
	// Default false.
	Observe bool
	// Classify judges how calls ended, for Stats and telemetry only. The err that
	// it is given is what Run returns. Default [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("timeout: Config")
	p.If(c.After <= 0, "After", c.After, "must be positive")
	return p.Err()
}

// Config returns the configuration in force, with After as SetAfter may have changed it.
func (t *Timeout) Config() Config {
	if t == nil {
		return Config{}
	}
	cfg := *t.live.Config()
	cfg.After = t.after(&cfg)
	return cfg
}

// Reconfigure puts another configuration in force for the calls that begin from now on. Name
// and MeterProvider stay as they were. An unusable cfg changes nothing, and Reconfigure returns
// the error of Validate. A member of a Group is changed through [Group.Reconfigure], or by
// SetAfter.
func (t *Timeout) Reconfigure(cfg Config) error {
	if t == nil {
		return nil
	}
	if t.group != nil {
		return fmt.Errorf("timeout: %w", live.ErrMember)
	}
	if err := t.reconfigure(cfg); err != nil {
		return err
	}
	t.own.Store(0)
	return nil
}

// SetMode puts a mode in force for the calls that begin from now on: ModeOn, which does what
// the Config says, ModeObserve or ModeOff. It returns an error for every other mode: a timeout
// refuses nothing. The mode stays through Reconfigure. A member of a Group has the mode of its
// Group.
func (t *Timeout) SetMode(mode stability.Mode) error {
	if t == nil {
		return nil
	}
	if t.group != nil {
		return fmt.Errorf("timeout: %w", live.ErrMember)
	}
	return t.setMode(mode)
}

// SetAfter changes how long calls may take that begin from now on. It returns an
// error, and changes nothing, when after is not positive. A member of a Group keeps it when
// the Group is reconfigured.
func (t *Timeout) SetAfter(after time.Duration) error {
	if t == nil {
		return nil
	}
	if after <= 0 {
		return fmt.Errorf("timeout: %v is not positive", after)
	}
	t.own.Store(int64(after))
	return nil
}

func (s *settings) reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	return s.live.Change(func(now *live.State[Config]) error {
		cfg.Name, cfg.MeterProvider = now.Config.Name, now.Config.MeterProvider
		now.Config = cfg
		return nil
	}, nil)
}

func (s *settings) setMode(mode stability.Mode) error {
	return s.live.SetMode(policy, mode, nil, stability.ModeOn, stability.ModeObserve, stability.ModeOff)
}
