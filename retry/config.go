package retry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
)

// Config configures a [Retry]. The zero value is valid.
type Config struct {
	// Name names the policy in errors and telemetry. Default "".
	Name string
	// Attempts is how often a call is made at the most, the first time included.
	// 1 retries nothing. Default 3.
	Attempts int
	// Base is the longest pause before the second attempt. It doubles with each
	// further attempt. Default 50ms, or Max where that is shorter: long enough for
	// a connection to be made anew, too short for a person to notice.
	Base time.Duration
	// Max is what the longest pause grows to. Default 2s, or Base where that is longer.
	Max time.Duration
	// MaxPushback is the longest pause that the dependency may ask for where the
	// call's ctx has no deadline; a call that is asked for more is given up, and what is
	// added to spread those who were told the same stays within it. Where there is a
	// deadline, that is the bound. Default 1m.
	MaxPushback time.Duration
	// Jitter returns the pause, given the longest; what lies outside of 0 to
	// longest is cut off. Where the dependency asked for a pause, Jitter returns what is
	// added to it. It may be called by many goroutines at once. Default: any pause from 0
	// to longest is as likely as another (full jitter).
	Jitter func(longest time.Duration) time.Duration
	// Budget pays for the retries. It may be shared with other policies, and with
	// hedges. Default a budget of the policy's own, as [NewBudget] makes it from
	// the zero BudgetConfig; [Unlimited] for none.
	Budget *Budget
	// Retryable reports whether an attempt that failed with err may be made again.
	// It is not asked about what is never retried; see [Retry.Run]. It may be
	// called by many goroutines at once. Default: every error is retryable.
	Retryable func(err error) bool
	// OnRetry is called when an attempt has failed with err and another one is to
	// be made after the pause: to give back what the failed one still holds, or to
	// tell somebody. ctx is that of the failed attempt. It runs on the caller's
	// goroutine, and what it takes of the pause is not waited for once more. It may
	// be called by many goroutines at once. Default: nothing is called.
	OnRetry func(ctx context.Context, err error, pause time.Duration)
	// Classify judges how calls ended, all attempts taken together, for Stats and
	// telemetry only. Default [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("retry: Config")
	p.If(c.Attempts < 0, "Attempts", c.Attempts, "must not be negative")
	p.If(c.Base < 0, "Base", c.Base, "must not be negative")
	p.If(c.Max < 0, "Max", c.Max, "must not be negative")
	p.If(c.Max > 0 && c.Base > c.Max, "Base", c.Base, fmt.Sprintf("must not be longer than Config.Max (%v)", c.Max))
	p.If(c.MaxPushback < 0, "MaxPushback", c.MaxPushback, "must not be negative")
	return p.Err()
}

func (c Config) withDefaults() Config {
	if c.Attempts == 0 {
		c.Attempts = 3
	}
	base, limit := c.Base, c.Max
	if base == 0 {
		c.Base = 50 * time.Millisecond
		if limit > 0 {
			c.Base = min(c.Base, limit)
		}
	}
	if limit == 0 {
		c.Max = max(2*time.Second, base)
	}
	if c.MaxPushback == 0 {
		c.MaxPushback = time.Minute
	}
	return c
}

// complete returns cfg with its defaults. The caller changes the configuration, or makes r.
func (r *Retry) complete(cfg Config) Config {
	cfg = cfg.withDefaults()
	if cfg.Budget == nil {
		if r.own == nil {
			r.own = NewBudget(BudgetConfig{})
		}
		cfg.Budget = r.own
	}
	return cfg
}

// Config returns the configuration in force, with its defaults.
func (r *Retry) Config() Config {
	if r == nil {
		return Config{Attempts: 1}
	}
	return *r.live.Config()
}

// Reconfigure puts another configuration in force for the calls that begin from now on. A
// call keeps that which it began with to its end. The policy's own budget keeps what it has; a
// Budget of cfg is used from then on. Name and MeterProvider stay as they were. An unusable cfg
// changes nothing, and Reconfigure returns the error of Validate.
func (r *Retry) Reconfigure(cfg Config) error {
	if r == nil {
		return nil
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	return r.live.Change(func(now *live.State[Config]) error {
		cfg.Name, cfg.MeterProvider = now.Config.Name, now.Config.MeterProvider
		now.Config = r.complete(cfg)
		return nil
	}, nil)
}

// SetMode puts a mode in force for the calls that begin from now on: ModeOn, or ModeOff, in
// which a call is made once, as if there was no Retry. It returns an error for every other mode:
// a retry refuses nothing. The mode stays through Reconfigure.
func (r *Retry) SetMode(mode stability.Mode) error {
	if r == nil {
		return nil
	}
	return r.live.SetMode(policy, mode, nil, stability.ModeOn, stability.ModeOff)
}
