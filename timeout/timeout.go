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
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrExceeded is in the error of every call that failed after the policy's
// deadline had passed. It is not in the error of a call whose caller's own
// deadline passed.
var ErrExceeded = errors.New("timeout: exceeded")

const policy = "timeout"

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
	key string
	own atomic.Int64 // what SetAfter said; 0: the Config says it

	tally    telemetry.Tally // without the exceeded
	exceeded stripe.Counter  // failures
	observed atomic.Int64    // calls that took longer while nothing was bounded
}

// New returns a timeout. It panics with the error of [Config.Validate] when cfg is
// not usable.
func New(cfg Config) *Timeout {
	t := new(Timeout)
	t.init(newSettings(cfg), "")
	telemetry.Observe(t.meter, t, func(t *Timeout, o metric.Observer) { t.observe(o, t.Stats()) })
	telemetry.Register(t.meter, t, source)
	return t
}

func (t *Timeout) init(s *settings, key string) {
	t.settings, t.key = s, key
	t.tally.Sum = s.sum
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
	now := t.live.Load()
	after := t.after(&now.Config)
	if now.Mode != stability.ModeOn || now.Config.Observe {
		return t.unbounded(ctx, now.Mode, after)
	}
	deadline := time.Now().Add(after)
	if own, ok := ctx.Deadline(); ok && !own.After(deadline) {
		return ctx, stability.Admission{Gate: (*outlived)(t)}, nil
	}
	c := &deadlineCtx{parent: ctx, deadline: deadline, t: t, after: after}
	return c, stability.Admission{Gate: (*releaser)(c)}, nil
}

// after returns how long a call may take.
func (t *Timeout) after(cfg *Config) time.Duration {
	if own := t.own.Load(); own != 0 {
		return time.Duration(own)
	}
	return cfg.After
}

// unbounded admits a call that gets no deadline.
func (t *Timeout) unbounded(ctx context.Context, mode stability.Mode, after time.Duration) (context.Context, stability.Admission, error) {
	if mode == stability.ModeOff {
		return ctx, stability.Admission{}, nil
	}
	if own, ok := ctx.Deadline(); ok && time.Until(own) <= after {
		return ctx, stability.Admission{Gate: (*outlived)(t)}, nil
	}
	return ctx, stability.Admission{Gate: (*observed)(t), N: int64(time.Since(epoch) + after)}, nil
}

// epoch is what the deadlines of observed calls are reckoned from.
var epoch = time.Now()

// observed is a Timeout that only watches how long calls take.
type observed Timeout

// Release implements [stability.Releaser].
func (o *observed) Release(ctx context.Context, deadline int64, err error) error {
	if int64(time.Since(epoch)) > deadline {
		o.observed.Add(1)
		o.sumObserved.Add(1)
	}
	o.tally.Judge(ctx, o.live.Config().Classify, err)
	return err
}

// outlived is a Timeout whose deadline is not before that of the call's own context.
type outlived Timeout

// Release implements [stability.Releaser].
func (o *outlived) Release(ctx context.Context, _ int64, err error) error {
	o.tally.Judge(ctx, o.live.Config().Classify, err)
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
		t.tally.Judge(c.parent, t.live.Config().Classify, err)
		return err
	}
	e := t.makeError(c.after, err)
	t.countExceeded(c.parent, &e)
	telemetry.Event(c.parent, "stability.timeout.exceeded", policy, t.name, func() []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.KeyError.String(e.ErrorType())}
	})
	return &e
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
	outcome = t.live.Config().Classify.Outcome(ctx, err)
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
