// Package timeout puts a bound on how long a call may take, so that a dependency
// that answers slowly, or never, does not hold its callers for longer than they
// can bear.
//
// It is cooperative: the call's context ends, and the call is expected to return
// for it. No call is abandoned: it runs on its caller's goroutine, and what it
// holds stays held until it returns.
//
// The pattern: Nygard, Release It! (2nd ed., 2018), section 5.1, Timeouts. It
// counters integration points that hang, blocked threads and slow responses.
package timeout

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrExceeded is in the error of every call that failed after the policy's
// deadline had passed. It is not in the error of a call whose caller's own
// deadline passed.
var ErrExceeded = errors.New("timeout: exceeded")

const policy = "timeout"

// Config configures a [Timeout]. After must be set; the zero value of every other
// field is valid.
type Config struct {
	// Name names the timeout in errors and telemetry. Default "".
	Name string
	// After is how long a call may take. Its context ends then. No default.
	After time.Duration
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

// A Timeout is a [stability.Gate] that gives each call a context with a deadline.
// It refuses nothing: a call whose context has ended before is not run and gets
// the context's error.
//
// The deadline only ever shortens the caller's. Where the caller's own is not
// later, the call runs under the caller's context itself.
//
// A nil *Timeout runs every call without a bound. All methods may be called by
// any number of goroutines.
type Timeout struct {
	*settings
	key   string
	after atomic.Int64

	tally    telemetry.Tally // without the exceeded
	exceeded stripe.Counter  // failures
}

// New returns a timeout. It panics with the error of [Config.Validate] when cfg is
// not usable.
func New(cfg Config) *Timeout {
	t := new(Timeout)
	t.init(newSettings(cfg), "")
	telemetry.Observe(t.meter, t, func(t *Timeout, o metric.Observer) { t.observe(o, t.Stats()) })
	telemetry.Register(t.meter, t, func(t *Timeout) stability.Point { return t.Stats().point() })
	return t
}

func (t *Timeout) init(s *settings, key string) {
	t.settings, t.key = s, key
	t.tally.Sum = s.sum
	t.after.Store(int64(s.cfg.After))
}

// Run calls fn with a context that ends After from now, or when ctx does. It
// returns when fn does, and what fn returned:
//
//   - nil, also where the deadline has passed in the meantime: a result in hand
//     is worth more than the rule that it came too late for;
//   - an error, unchanged where the deadline has not passed or where ctx ended
//     before it;
//   - else an [*Error] around fn's error.
//
// It allocates once, for the context; where ctx's own deadline is not later than
// the policy's, not at all. A timer and a child of ctx exist only where fn asks
// the context for Done (or [context.Cause], [context.AfterFunc] or a context
// derived from it does), and are gone when Run returns.
func (t *Timeout) Run(ctx context.Context, fn func(context.Context) error) error {
	ctx, a, err := t.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, fn)
}

// Enter is [Timeout.Run] for a call that outlives a function: its context ends
// After from now, or with Done of the Pass.
func (t *Timeout) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := t.Admit(ctx)
	if err != nil {
		return nil, err
	}
	return a.Pass(ctx), nil
}

// Admit implements [stability.Admitter].
func (t *Timeout) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if t == nil {
		return ctx, stability.Admission{}, nil
	}
	if err := ctx.Err(); err != nil {
		return ctx, stability.Admission{}, ended.With(ctx, err)
	}
	after := time.Duration(t.after.Load())
	deadline := time.Now().Add(after)
	if own, ok := ctx.Deadline(); ok && !own.After(deadline) {
		return ctx, stability.Admission{Gate: (*outlived)(t)}, nil
	}
	c := &deadlineCtx{parent: ctx, deadline: deadline, t: t, after: after}
	return c, stability.Admission{Gate: (*releaser)(c)}, nil
}

// outlived is a Timeout whose deadline is not before that of the call's own context.
type outlived Timeout

// Release implements [stability.Releaser].
func (o *outlived) Release(ctx context.Context, _ int64, err error) error {
	o.tally.Judge(ctx, o.cfg.Classify, err)
	return err
}

// releaser is the side of a deadlineCtx that admissions come back to.
type releaser deadlineCtx

// Release implements [stability.Releaser].
func (r *releaser) Release(_ context.Context, _ int64, err error) error {
	c := (*deadlineCtx)(r)
	t := c.t
	// Only a call that failed needs to know whether its time was up, which costs a
	// reading of the clock. One that did not return has no error to wrap.
	exceeded := err != nil && err != stability.ErrNoReturn && c.exceeded() //nolint:errorlint // The sentinel itself, told by Admission.Run and never wrapped.
	c.release()
	if !exceeded {
		t.tally.Judge(c.parent, t.cfg.Classify, err)
		return err
	}
	e := t.makeError(c.after, err)
	t.countExceeded(c.parent, &e)
	telemetry.Event(c.parent, "stability.timeout.exceeded", policy, t.cfg.Name, func() []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.KeyError.String(e.ErrorType())}
	})
	return &e
}

// SetAfter changes how long calls may take that begin from now on. It returns an
// error, and changes nothing, when after is not positive.
func (t *Timeout) SetAfter(after time.Duration) error {
	if t == nil {
		return nil
	}
	if after <= 0 {
		return fmt.Errorf("timeout: %v is not positive", after)
	}
	t.after.Store(int64(after))
	return nil
}

// countExceeded counts a call whose time was up: as exceeded, unless Classify does
// not call that a failure.
func (t *Timeout) countExceeded(ctx context.Context, err error) {
	outcome := stability.Failure
	defer func() { // Classify may panic
		if outcome != stability.Failure {
			t.tally.Count(outcome)
			return
		}
		t.exceeded.Add(1)
		if t.sumExceeded != nil {
			t.sumExceeded.Add(1)
		}
	}()
	outcome = t.cfg.Classify.Outcome(ctx, err)
}

// Stats is what a [Timeout] is doing and has done.
type Stats struct {
	stability.Calls
	Exceeded int64         // of those that failed, how many did so after the policy's deadline
	After    time.Duration // how long a call may take

	// Overflowed is how often Get of a [Group] found no room for a key; 0 of a member.
	Overflowed int64
}

// Stats returns a reading of the moment.
func (t *Timeout) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return newStats(&t.tally, &t.exceeded, time.Duration(t.after.Load()))
}

func newStats(others *telemetry.Tally, exceeded *stripe.Counter, after time.Duration) Stats {
	s := Stats{Calls: others.Calls(), Exceeded: exceeded.Load(), After: after}
	s.Failed += s.Exceeded
	return s
}

// Do is [Timeout.Run] for a function that returns a value, which is returned with
// whatever error.
func Do[T any](ctx context.Context, t *Timeout, fn func(context.Context) (T, error)) (T, error) {
	ctx, a, err := t.Admit(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return stability.DoAdmitted(ctx, a, fn)
}
