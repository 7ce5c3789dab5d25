// Package breaker stops calling a dependency that fails, and finds out by a few
// probes when it works again. Callers are told at once instead of waiting for an
// answer that will not come, and the dependency is left in peace to recover.
//
// The pattern: Nygard, Release It! (2nd ed., 2018), section 5.2, Circuit Breaker.
// It counters integration points, cascading failures and slow responses.
//
// A breaker that is wider than what fails does harm: one that guards ten shards of
// which one is dead refuses calls to the other nine. Use a [Group], with one
// breaker for each thing that fails on its own.
package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/internal/window"
)

// ErrOpen is in the Reason of every refusal: the breaker is open, or half-open with
// all its probes under way, or closed again and still admitting a share only.
var ErrOpen = stability.NewReason("breaker: circuit open")

// ErrForcedOpen is the Reason of a refusal by a breaker that was told to refuse, see
// [Breaker.ForceOpen]. errors.Is finds [ErrOpen] in it.
var ErrForcedOpen error = forcedOpen{}

type forcedOpen struct{}

func (forcedOpen) Error() string { return "breaker: forced open" }
func (forcedOpen) Unwrap() error { return ErrOpen }

const policy = "breaker"

// A State is what a [Breaker] does with calls.
type State uint8

// The states.
const (
	// Closed: calls pass and are counted.
	Closed State = iota
	// HalfOpen: a few calls pass as probes, the others are refused.
	HalfOpen
	// Open: calls are refused.
	Open
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
	orDefault(&c.SlowRatio, 1)
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

// A Breaker is a [stability.Gate] that refuses calls to a dependency which fails.
//
// A call that is made in the course of a probe, with a context derived from the probe's,
// passes as part of that probe: a driver may shake hands through the hook that it was
// called by. It takes no slot of its own, and its result is counted in Stats only. When
// the probe has ended, its context lets nothing pass any more.
//
// A nil *Breaker runs every call unguarded. All methods may be called by any
// number of goroutines.
type Breaker struct {
	*settings
	key string

	// stay is what admissions look at. A stay is made for each time that the
	// breaker is in a state, and owns what is counted there: a result that comes
	// late reaches the stay that admitted it, and no other.
	stay atomic.Pointer[stay]

	mu      sync.Mutex
	mode    Mode
	real    *stay     // what the state machine says; the same as stay in mode Auto
	since   time.Time // of the last change
	seen    time.Time // when mu was locked last
	streak  int       // failed recoveries since the last full one
	opened  int64
	pending []Change // not yet told

	// unshortened has just opened, and Jitter has not been asked yet by how much sooner
	// it ends.
	unshortened *stay
	telling     bool

	totals  totals
	started stripe.Counter // calls let in; of a member of a Group only
}

// New returns a closed breaker. It panics with the error of [Config.Validate] when
// cfg is not usable.
func New(cfg Config) *Breaker {
	b := new(Breaker)
	b.init(newSettings(cfg), "")
	telemetry.Observe(b.meter, b, func(b *Breaker, o metric.Observer) {
		var in [len(states)]int64
		in[b.State()] = 1
		b.observe(o, &b.totals, in)
	})
	telemetry.Register(b.meter, b, (*Breaker).point)
	return b
}

func (b *Breaker) init(s *settings, key string) {
	b.settings, b.key, b.since = s, key, time.Now()
	b.seen = b.since
	if s.sum != nil {
		b.totals.tally.Sum = &s.sum.tally
	}
	b.real = b.newClosed()
	b.stay.Store(b.real)
}

// Run calls fn unless the breaker refuses, which it does with a [stability.Rejection] of
// the Reason [ErrOpen] or [ErrForcedOpen]. Its RetryAfter is the time until the breaker
// probes, where that is known: never too short, and too long by a sixteenth of the open
// time at the most. Run does not block, and a call that is let through costs no
// allocation while the breaker is closed.
func (b *Breaker) Run(ctx context.Context, fn func(context.Context) error) error {
	s := b.simple(ctx)
	if s == nil {
		return b.runAdmitted(ctx, fn)
	}
	b.begin()
	c := call{b: b, s: s, ctx: ctx}
	defer c.abort()
	return c.end(fn(ctx))
}

func (b *Breaker) runAdmitted(ctx context.Context, fn func(context.Context) error) error {
	if err := b.refusedAtOnce(ctx); err != nil {
		return err
	}
	ctx, a, err := b.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, fn)
}

// Enter is [Breaker.Run] for a call that outlives a function: it ends, and is
// judged, with Done of the Pass. Where the Pass is told of the answer before that, the call
// counts as a success then, and as a failure in place of it if Done is told of one.
func (b *Breaker) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := b.Admit(ctx)
	if err != nil {
		return nil, err
	}
	return a.Pass(ctx), nil
}

// Admit implements [stability.Admitter].
func (b *Breaker) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if b == nil {
		return ctx, stability.Admission{}, nil
	}
	if ctx.Err() != nil {
		return ctx, stability.Admission{}, ended.Err(ctx)
	}
	var g stability.Releaser
	if s := b.stay.Load(); s.state == Closed && !s.ramping.Load() {
		g = s
	} else {
		if err := b.refusedAtOnce(ctx); err != nil {
			return ctx, stability.Admission{}, err
		}
		var refusal *stability.Rejection
		if ctx, g, refusal = b.admitSlow(ctx); refusal != nil {
			return ctx, stability.Admission{}, refusal
		}
	}
	b.begin()
	a := stability.Admission{Gate: g}
	if b.cfg.SlowCall > 0 {
		a.N = int64(time.Since(epoch))
	}
	return ctx, a, nil
}

// epoch is what admissions note their beginning against: the difference of two
// readings of a monotonic clock fits in a word.
var epoch = time.Now()

// A grant is what is told how a call ended: the closed stay that let it in, a probe's
// lease, or a bystander.
type grant interface {
	settle(ctx context.Context, outcome stability.Outcome, slow bool, err error)
}

// Release implements [stability.Releaser].
func (s *stay) Release(ctx context.Context, began int64, err error) error {
	return s.b.release(ctx, s, began, err)
}

func (s *stay) settle(ctx context.Context, outcome stability.Outcome, slow bool, err error) {
	s.b.settleClosed(ctx, s, outcome, slow, err)
}

// Release implements [stability.Releaser].
func (l *lease) Release(ctx context.Context, began int64, err error) error {
	return l.stay.b.release(ctx, l, began, err)
}

func (l *lease) settle(ctx context.Context, outcome stability.Outcome, slow bool, err error) {
	l.stay.b.settleProbe(ctx, l, outcome, slow, err)
}

// release counts a call that ended, and lets the state machine know.
func (b *Breaker) release(ctx context.Context, g grant, began int64, err error) error {
	slow := b.slow(began)
	if b.cfg.Classify == nil && err == nil {
		b.totals.tally.Count(stability.Success)
		g.settle(ctx, stability.Success, slow, nil)
		return nil
	}
	// What judges an error is the user's, as are the methods of the error, and may
	// panic: the call counts as failed then, and a probe's slot comes back all the
	// same.
	outcome := stability.Failure
	defer func() {
		b.totals.tally.Count(outcome)
		g.settle(ctx, outcome, slow, err)
	}()
	outcome = b.cfg.Classify.Outcome(ctx, err)
	return err
}

// slow reports whether a call that began then is slow by now.
func (b *Breaker) slow(began int64) bool {
	return b.cfg.SlowCall > 0 && time.Since(epoch)-time.Duration(began) > b.cfg.SlowCall
}

// State returns the state at this moment: an open breaker whose open time is over reads
// HalfOpen, and one whose probe is not back within ProbeFor reads Open, though nothing
// has come to act on it yet. It changes nothing.
func (b *Breaker) State() State {
	if b == nil {
		return Closed
	}
	now := b.lock()
	defer b.mu.Unlock()
	return b.stay.Load().read(b.since, now).state
}

// Counts is what is in the window of a closed breaker.
type Counts struct {
	Successes int64 // slow ones included
	Failures  int64 // slow ones included
	Slow      int64 // of either
}

// Stats is what a [Breaker] is doing and has done.
type Stats struct {
	stability.Calls
	Observed int64 // calls that Observe let through and that would have been refused

	State      State         // at this moment, as [Breaker.State] returns it
	Mode       Mode          // who decides
	Since      time.Time     // of the last change of state
	Window     Counts        // zero unless closed
	Probing    int           // probes under way whose time is not over
	RetryAfter time.Duration // until an open breaker probes; 0 when it is not open, forced open, or about to probe
	Opened     int64         // how many times it has opened by itself
}

// Stats returns a reading of the moment. It changes nothing.
func (b *Breaker) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	now := b.lock()
	defer b.mu.Unlock()
	s := b.stay.Load()
	r := s.read(b.since, now)
	stats := Stats{
		Calls:    b.totals.tally.Calls(),
		Observed: b.totals.observed.Load(),
		State:    r.state,
		Mode:     b.mode,
		Since:    r.since,
		Probing:  len(b.real.leases),
		Opened:   b.opened,
	}
	if b.real.lapsed(now) != nil { // nobody has come to see it
		stats.Probing = 0
		stats.Opened++
	}
	if s.state == Closed {
		stats.Window = Counts(s.window.Counts())
	}
	if r.state == Open && !r.due.IsZero() {
		stats.RetryAfter = r.due.Sub(now)
	}
	return stats
}

// Do is [Breaker.Run] for a function that returns a value. Where the call was
// refused the value is the zero T.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (T, error) {
	s := b.simple(ctx)
	if s == nil {
		return doAdmitted(ctx, b, fn)
	}
	b.begin()
	c := call{b: b, s: s, ctx: ctx}
	defer c.abort()
	v, err := fn(ctx)
	return v, c.end(err)
}

func doAdmitted[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (v T, err error) {
	if err := b.refusedAtOnce(ctx); err != nil {
		return v, err
	}
	ctx, a, err := b.Admit(ctx)
	if err != nil {
		return v, err
	}
	return stability.DoAdmitted(ctx, a, fn)
}
