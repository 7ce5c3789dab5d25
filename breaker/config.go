package breaker

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/window"
)

// Config configures a [Breaker]. The zero Config is valid.
type Config struct {
	// Name names the breaker in refusals, changes and telemetry. Default "".
	Name string

	// FailureRatio is the share of failures among the calls in the window, above 0
	// and up to 1, from which on the breaker opens: 55 of 100 reach 0.55. Default 0.5.
	FailureRatio float64
	// SlowCall is the duration past which a call is slow, whether it succeeds or
	// fails. A probe that is slow has failed. Default 0: no call is.
	SlowCall time.Duration
	// SlowRatio is the share of slow calls among the calls in the window, above 0
	// and up to 1, from which on the breaker opens. Default 1.
	SlowRatio float64
	// Consecutive is the number of failures in a row at which the breaker opens,
	// however few calls there are. Default 0: failures in a row do not open it.
	Consecutive int
	// MinCalls is how many calls must be in the window before a ratio opens the
	// breaker. Where calls succeed after long and fail at once, more than fail within the
	// time that one takes, see Window. Default 20.
	MinCalls int
	// Window is the time over which calls are counted, at least 10ms. It slides, in
	// ten steps. Default 10s.
	//
	// A call counts when it ends, or when its Pass is told of the answer, see
	// [stability.Pass.Answered]. Without the latter, calls that succeed after a minute and
	// fail at once are counted a minute apart: when traffic begins or grows, the first
	// minute shows failures only, and a few of a hundred look like an outage. For such
	// calls, make Window several times as long as a call takes, or MinCalls larger than
	// the number of calls that fail in that time; both delay the opening in a real outage
	// by as much. Enter, and Answered at the first sign of life, need neither.
	Window time.Duration

	// OpenFor is how long the breaker stays open before it probes, the first time.
	// Every open time is shortened by up to a tenth, see Jitter. Default 5s.
	OpenFor time.Duration
	// MaxOpenFor bounds the open time, which doubles each time a probe fails. It is
	// OpenFor again after the breaker has closed (and ramped up, with RampFor).
	// Default 10s, or OpenFor where that is longer: a probe costs a dependency that is
	// down next to nothing, and one that is back waits no longer than this for its calls.
	MaxOpenFor time.Duration
	// Jitter returns by how much an open time is shortened, given the longest, a
	// tenth of it; what lies outside of 0 to longest is cut off. Many processes then
	// do not probe at the same instant. It is called with no lock held, on the
	// goroutine of a call that ended or began, when the breaker has opened. A panic
	// in it reaches the caller on whose goroutine it ran, and the open time is not
	// shortened. It may be called by many goroutines at once. Default: anything from
	// 0 to longest is as likely as another.
	Jitter func(longest time.Duration) time.Duration
	// Probes is how many calls pass while the breaker is half-open. When so many
	// have succeeded it closes; when one fails it opens. Default 1.
	Probes int
	// ProbeFor is how long a probe may take until it is answered or ends. One that is not
	// back by then has failed, whatever it returns later: the breaker is open from that
	// moment on, and OnChange is told when the next call comes or ends. Default 30s.
	ProbeFor time.Duration
	// RampFor is the time after closing over which the share of calls that pass
	// grows from a tenth to all. Calls that are made in the course of one that passed are
	// not counted for the share. Default 0: all pass at once.
	RampFor time.Duration

	// Observe makes the breaker decide and report, and refuse nothing unless
	// [Breaker.ForceOpen] tells it to. Default false.
	Observe bool
	// Classify judges how calls ended. Default [stability.Classify].
	Classify stability.Classifier
	// OnChange is told of every change of state: in their order, once each, with no
	// lock held, on the goroutine of a call that ended or began. It may use the
	// breaker. While it runs nobody else waits for it; changes that happen
	// meanwhile are told by the goroutine that runs it. A panic in it reaches the
	// caller on whose goroutine it ran. Default nil.
	OnChange func(Change)
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
	// Logger logs changes of state: to open as a warning, others as information.
	// Default nil: nothing is logged.
	Logger *slog.Logger
}

// Validate returns an error that names every field that is not usable, with its value and
// why. [New] panics with it.
func (c Config) Validate() error {
	p := check.Of("breaker: Config")
	negative := func(bad bool, field string, value any) { p.If(bad, field, value, "must not be negative") }
	p.If(!ratio(c.FailureRatio), "FailureRatio", c.FailureRatio, "must be from 0 to 1")
	negative(c.SlowCall < 0, "SlowCall", c.SlowCall)
	p.If(!ratio(c.SlowRatio), "SlowRatio", c.SlowRatio, "must be from 0 to 1")
	p.If(c.SlowRatio > 0 && c.SlowCall == 0, "SlowRatio", c.SlowRatio, "needs a SlowCall that says what is slow")
	negative(c.Consecutive < 0, "Consecutive", c.Consecutive)
	negative(c.MinCalls < 0, "MinCalls", c.MinCalls)
	p.If(c.Window < 0 || c.Window > 0 && c.Window < window.MinSpan, "Window", c.Window, "must be at least 10ms")
	negative(c.OpenFor < 0, "OpenFor", c.OpenFor)
	negative(c.MaxOpenFor < 0, "MaxOpenFor", c.MaxOpenFor)
	if openFor := c.withDefaults().OpenFor; c.MaxOpenFor > 0 && c.MaxOpenFor < openFor {
		p.If(true, "MaxOpenFor", c.MaxOpenFor, fmt.Sprintf("must not be shorter than OpenFor (%v)", openFor))
	}
	p.If(c.Probes < 0 || uint64(c.Probes) > math.MaxUint32, "Probes", c.Probes, "must be from 0 to 1<<32 - 1")
	negative(c.ProbeFor < 0, "ProbeFor", c.ProbeFor)
	negative(c.RampFor < 0, "RampFor", c.RampFor)
	return p.Err()
}

func ratio(r float64) bool { return r >= 0 && r <= 1 } // and no NaN

func (c Config) withDefaults() Config {
	orDefault(&c.FailureRatio, 0.5)
	if c.SlowCall > 0 {
		orDefault(&c.SlowRatio, 1)
	}
	orDefault(&c.MinCalls, 20)
	orDefault(&c.Window, 10*time.Second)
	orDefault(&c.OpenFor, 5*time.Second)
	orDefault(&c.MaxOpenFor, max(10*time.Second, c.OpenFor))
	orDefault(&c.Probes, 1)
	orDefault(&c.ProbeFor, 30*time.Second)
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// config returns the configuration in force.
func (s *settings) config() *Config { return s.live.Config() }

// observes reports whether the breaker decides and refuses nothing.
func (b *Breaker) observes() bool {
	now := b.live.Load()
	return now.Config.Observe || now.Mode == stability.ModeObserve || b.watching
}

// Config returns the configuration in force, with its defaults.
func (b *Breaker) Config() Config {
	if b == nil {
		return Config{}
	}
	return *b.config()
}

// Reconfigure puts another configuration in force. The state stays, and so does the end of an
// open time. What the window has counted stays, and is judged by the new numbers at the next
// result; with another Window it starts again. OpenFor, MaxOpenFor and Probes are those of the
// next opening, RampFor that of the next closing. Observe, Classify, OnChange, Jitter and Logger
// hold at once. Name and MeterProvider stay as they were. An unusable cfg changes nothing, and
// Reconfigure returns the error of Validate. A member of a Group is changed through
// [Group.Reconfigure].
func (b *Breaker) Reconfigure(cfg Config) error {
	if b == nil {
		return nil
	}
	if b.group != nil {
		return fmt.Errorf("breaker: %w", live.ErrMember)
	}
	return b.reconfigure(cfg, b.adopt)
}

// SetMode puts a mode in force: ModeOn, in which the breaker decides, as [Breaker.Auto] does;
// ModeObserve, in which it decides and refuses nothing; ModeOff, as [Breaker.ForceClosed] does;
// or ModeOpen, as [Breaker.ForceOpen] does. The mode stays through Reconfigure. A member of a
// Group has the mode of its Group, until one of those methods says something else of it.
func (b *Breaker) SetMode(mode stability.Mode) error {
	if b == nil {
		return nil
	}
	if b.group != nil {
		return fmt.Errorf("breaker: %w", live.ErrMember)
	}
	if err := b.setMode(mode); err != nil {
		return err
	}
	b.follow()
	return nil
}

func (s *settings) reconfigure(cfg Config, adopt func(was, is *Config)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	var was *Config
	return s.live.Change(func(now *live.State[Config]) error {
		was = s.live.Config()
		cfg.Name, cfg.MeterProvider = now.Config.Name, now.Config.MeterProvider
		now.Config = cfg.withDefaults()
		return nil
	}, func() { adopt(was, s.live.Config()) })
}

func (s *settings) setMode(mode stability.Mode) error {
	return s.live.SetMode(policy, mode, nil, stability.ModeOn, stability.ModeObserve, stability.ModeOff, stability.ModeOpen)
}

// adopt lets the breaker go on with another configuration.
func (b *Breaker) adopt(was, is *Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	shown := b.stay.Load()
	for _, s := range []*stay{b.real, shown} {
		if s.state != Closed {
			continue
		}
		s.window.SetEnough(is.MinCalls)
		if was.Consecutive == 0 {
			s.inARow.Store(0) // it was not kept
		}
	}
	if was.Window == is.Window {
		return
	}
	if b.real.state == Closed {
		next := b.recount(b.real)
		if shown == b.real {
			b.stay.Store(next)
		}
		b.real = next
	}
	if shown := b.stay.Load(); shown.state == Closed && shown != b.real {
		b.stay.Store(b.recount(shown))
	}
}

// recount returns a closed stay like s with an empty window. The caller holds mu.
func (b *Breaker) recount(s *stay) *stay {
	next := b.newClosed()
	next.inARow.Store(s.inARow.Load())
	next.ramping.Store(s.ramping.Load())
	next.credit, next.rampEnd, next.rampFor = s.credit, s.rampEnd, s.rampFor
	return next
}
