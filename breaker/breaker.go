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
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
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
	// watching is set where keys past the bound share the breaker: it refuses nothing.
	watching bool

	// stay is what admissions look at. A stay is made for each time that the
	// breaker is in a state, and owns what is counted there: a result that comes
	// late reaches the stay that admitted it, and no other.
	stay atomic.Pointer[stay]

	mu      sync.Mutex
	mode    stability.Mode // ModeOn: the breaker decides; ModeOff, ModeOpen: it was told to
	real    *stay          // what the state machine says; the same as stay in ModeOn
	since   time.Time      // of the last change
	seen    time.Time      // when mu was locked last
	streak  int            // failed recoveries since the last full one
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
	telemetry.Register(b.meter, b, source)
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
	switch mode := s.live.Load().Mode; mode {
	case stability.ModeOpen:
		b.stay.Store(b.newForced())
		fallthrough
	case stability.ModeOff:
		b.mode = mode
	}
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
	if b.config().SlowCall > 0 {
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
	slow, classify := b.slow(began), b.config().Classify
	if classify == nil && err == nil {
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
	outcome = classify.Outcome(ctx, err)
	return err
}

// slow reports whether a call that began then is slow by now. One that began while no call
// was slow has no such time.
func (b *Breaker) slow(began int64) bool {
	slow := b.config().SlowCall
	return slow > 0 && began != 0 && time.Since(epoch)-time.Duration(began) > slow
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
