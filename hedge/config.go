package hedge

import (
	"context"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/retry"
)

// Config configures a [Hedge]. The zero value is valid.
type Config struct {
	// Name names the hedge in telemetry. Default "".
	Name string
	// Delay is how long a call may take before another one is made beside it.
	// Default 0: as long as Percentile says.
	Delay time.Duration
	// Percentile takes the delay from the latencies of the last 1024 calls: it is
	// the one that this share of them did not exceed, above 0 and below 1. Default
	// 0.95, which hedges one call in twenty.
	Percentile float64
	// MinDelay and MaxDelay bound what Percentile says. MaxDelay is also the delay
	// until 20 latencies are known. Default 1ms, or MaxDelay where that is shorter,
	// and 1s, or MinDelay where that is longer.
	MinDelay, MaxDelay time.Duration
	// Key returns what the latencies of a call are kept by, given the call's context,
	// so that one dependency which is slower than others, a host or a shard, is not
	// hedged at every call for it. Default nil: those of all calls are kept together.
	Key func(ctx context.Context) string
	// Keys bounds for how many keys latencies are kept, 4 KiB each. A key that was
	// forgotten begins anew, with MaxDelay.
	Keys stability.Keys
	// Max is how many calls are made at the most, the first included, a delay
	// apart. 1 hedges nothing. Default 2.
	Max int
	// Budget pays for all calls but the first. It may be shared with other hedges,
	// and with retries. Default a budget of the hedge's own, as [retry.NewBudget]
	// makes it from the zero BudgetConfig; [retry.Unlimited] for none.
	Budget *retry.Budget
	// Classify judges how calls ended, all that were made for one taken together,
	// for Stats and telemetry only. Default [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("hedge: Config")
	p.If(c.Delay < 0, "Delay", c.Delay, "must not be negative")
	p.If(math.IsNaN(c.Percentile) || c.Percentile < 0 || c.Percentile >= 1, "Percentile", c.Percentile, "must be from 0 to below 1")
	p.If(c.MinDelay < 0, "MinDelay", c.MinDelay, "must not be negative")
	p.If(c.MaxDelay < 0, "MaxDelay", c.MaxDelay, "must not be negative")
	p.If(c.MaxDelay > 0 && c.MinDelay > c.MaxDelay, "MinDelay", c.MinDelay, fmt.Sprintf("must not be longer than Config.MaxDelay (%v)", c.MaxDelay))
	p.If(c.Delay > 0 && (c.Percentile > 0 || c.MinDelay > 0 || c.MaxDelay > 0), "Delay", c.Delay,
		"leaves nothing to Config.Percentile, MinDelay and MaxDelay: set it or them")
	p.If(c.Delay > 0 && c.Key != nil, "Delay", c.Delay, "leaves nothing to Config.Key: set one of them")
	p.If(c.Max < 0, "Max", c.Max, "must not be negative")
	p.If(c.Key == nil && c.Keys != stability.Keys{}, "Keys", c.Keys, "needs a Config.Key")
	p.In("hedge: Config.", c.Keys.Validate())
	return p.Err()
}

func (c Config) withDefaults() Config {
	if c.Delay == 0 {
		if c.Percentile == 0 {
			c.Percentile = 0.95
		}
		least, most := c.MinDelay, c.MaxDelay
		if least == 0 {
			c.MinDelay = time.Millisecond
			if most > 0 {
				c.MinDelay = min(c.MinDelay, most)
			}
		}
		if most == 0 {
			c.MaxDelay = max(time.Second, least)
		}
	}
	if c.Max == 0 {
		c.Max = 2
	}
	return c
}

// complete returns cfg with its defaults. The caller changes the configuration, or makes h.
func (h *Hedge) complete(cfg Config) Config {
	cfg = cfg.withDefaults()
	if cfg.Budget == nil {
		if h.own == nil {
			h.own = retry.NewBudget(retry.BudgetConfig{})
		}
		cfg.Budget = h.own
	}
	return cfg
}

// Config returns the configuration in force, with its defaults.
func (h *Hedge) Config() Config {
	if h == nil {
		return Config{Max: 1}
	}
	return *h.live.Config()
}

// Reconfigure puts another configuration in force for the calls that begin from now on. The
// latencies that are known, and what the hedge's own budget has, stay. Name, MeterProvider, Key
// and Keys stay as they were. An unusable cfg changes nothing, and Reconfigure returns the error
// of Validate.
func (h *Hedge) Reconfigure(cfg Config) error {
	if h == nil {
		return nil
	}
	now := h.live.Config()
	cfg.Name, cfg.MeterProvider, cfg.Key, cfg.Keys = now.Name, now.MeterProvider, now.Key, now.Keys
	if err := cfg.Validate(); err != nil {
		return err
	}
	return h.live.Change(func(now *live.State[Config]) error {
		now.Config = h.complete(cfg)
		return nil
	}, func() {
		share := h.live.Config().Percentile
		h.latencies.setShare(share)
		if h.members != nil {
			for _, l := range h.members.All() {
				l.setShare(share)
			}
		}
	})
}

// SetMode puts a mode in force for the calls that begin from now on: ModeOn, or ModeOff, in
// which a call is made once, as if there was no Hedge. It returns an error for every other mode:
// a hedge refuses nothing. The mode stays through Reconfigure.
func (h *Hedge) SetMode(mode stability.Mode) error {
	if h == nil {
		return nil
	}
	return h.live.SetMode(policy, mode, nil, stability.ModeOn, stability.ModeOff)
}
