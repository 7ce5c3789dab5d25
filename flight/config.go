package flight

import (
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
)

// Config configures [Flights]. The zero Config is valid.
type Config struct {
	// Name names the flights in telemetry. Default "".
	Name string
	// StaleIfError is how old the last good value of a key may be to answer for a
	// call that failed or was refused. The value goes to whoever asks for the key: where
	// answers depend on the user, the key names him. Its age counts from the start of the call that
	// brought it. Default 0: errors are not answered, and no value is kept.
	StaleIfError time.Duration
	// MaxStale is how many values are kept for StaleIfError at the most. The oldest
	// make room. Default 1024.
	MaxStale int
	// Classify judges how calls ended. A kept value answers for a Failure, and for a call
	// that was refused. An error that Classify calls a Success is an answer: it reaches the
	// callers, and the kept value is dropped. A row that does not exist is one, and so are
	// an HTTP server's 401, 403, 404 and 410: a kept value in their place would show what
	// is gone, or what this caller must not see. Default [stability.Classify], for which
	// every error but overload and cancellation is a Failure.
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("flight: Config")
	p.If(c.StaleIfError < 0, "StaleIfError", c.StaleIfError, "must not be negative")
	p.If(c.MaxStale < 0, "MaxStale", c.MaxStale, "must not be negative")
	p.If(c.MaxStale > 0 && c.StaleIfError == 0, "MaxStale", c.MaxStale, "needs a Config.StaleIfError for which values are kept")
	return p.Err()
}

func (c Config) withDefaults() Config {
	if c.StaleIfError > 0 && c.MaxStale == 0 {
		c.MaxStale = defaultMaxStale
	}
	return c
}

// Config returns the configuration in force, with its defaults.
func (f *Flights[T]) Config() Config {
	if f == nil {
		return Config{}
	}
	return *f.live.Config()
}

// Reconfigure puts another configuration in force. Calls on their way go on, and end by it.
// Values that are kept stay, as far as they are not too old for the new StaleIfError, and not
// more than the new MaxStale: the oldest go. Name and MeterProvider stay as they were. An
// unusable cfg changes nothing, and Reconfigure returns the error of Validate.
//
// It takes time by the number of values that go, during which no call begins or ends.
func (f *Flights[T]) Reconfigure(cfg Config) error {
	if f == nil {
		return nil
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	return f.live.Change(func(now *live.State[Config]) error {
		cfg.Name, cfg.MeterProvider = now.Config.Name, now.Config.MeterProvider
		now.Config = cfg.withDefaults()
		return nil
	}, func() {
		cfg := f.live.Config()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kept.bound(cfg.MaxStale, cfg.StaleIfError)
	})
}

// SetMode puts a mode in force for the callers that come from now on: ModeOn, or ModeOff, in
// which every caller's own call is made, as if there were no Flights. It returns an error for
// every other mode: flights refuse nothing. The mode stays through Reconfigure.
func (f *Flights[T]) SetMode(mode stability.Mode) error {
	if f == nil {
		return nil
	}
	return f.live.SetMode(policy, mode, nil, stability.ModeOn, stability.ModeOff)
}
