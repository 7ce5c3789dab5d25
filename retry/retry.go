// Package retry makes a failed call again, after a pause, as long as that can help
// and does not make things worse: a budget bounds what all retries together add to
// the load, and of the retries along a chain of services only the outermost acts.
//
// The pause is exponential backoff with full jitter: Brooker, Exponential Backoff
// And Jitter (AWS Architecture Blog, 2015). The budget has the shape of Finagle's
// RetryBudget and of gRPC's retry throttling (proposal A6). Retries fit Nygard,
// Release It! (2nd ed., 2018), section 5.1, Timeouts, which warns of those that
// come at once and without end; unbounded, they are what turns a slow dependency
// into a dead one.
//
// Only calls that may safely happen twice should be retried.
package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/attempts"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/refusal"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

// Why a call was given up although its last error could have been retried: the
// Reason of an [Error].
var (
	// ErrExhausted: all attempts were made.
	ErrExhausted = errors.New("retry: attempts exhausted")
	// ErrBudget: the budget had nothing left for another attempt.
	ErrBudget = errors.New("retry: budget spent")
	// ErrDeadline: the next attempt would not have started before the deadline of
	// the call's context. It is context.DeadlineExceeded too.
	ErrDeadline = fmt.Errorf("retry: no time for another attempt: %w", context.DeadlineExceeded)
	// ErrPushback: the dependency asked for a longer pause than Config.MaxPushback.
	ErrPushback = errors.New("retry: asked to come back too late")
	// ErrRefused: another attempt was refused further in.
	ErrRefused = errors.New("retry: another attempt was refused")
)

const policy = "retry"

// A Retry is a [stability.Policy] that makes failed calls again. It is no Gate: a
// call that outlives its function cannot be made again.
//
// A nil *Retry makes every call once. All methods may be called by any number of
// goroutines.
type Retry struct {
	live        live.Value[Config] // with the defaults, and a Budget
	name        string
	own         *Budget // in place of a Config.Budget; made when it is needed first
	instruments instruments

	tally   telemetry.Tally
	retries stripe.Counter
	// Calls given up.
	exhausted, overBudget, outOfTime, pushedBack, refused stripe.Counter
}

// New returns a retry policy. It panics with the error of [Config.Validate] when
// cfg is not usable.
func New(cfg Config) *Retry {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	r := &Retry{name: cfg.Name, instruments: newInstruments(cfg)}
	r.live.Init(r.complete(cfg))
	telemetry.Observe(r.instruments.meter, r, func(r *Retry, o metric.Observer) { r.instruments.observe(o, r.Stats()) })
	telemetry.Register(r.instruments.meter, r, source)
	return r
}

// Run calls fn until it succeeds, fails with an error that is not to be retried,
// or is given up. Before each further attempt it pauses on the caller's goroutine.
//
// Never retried are:
//   - a [stability.Rejection]: the call was refused further in, and calling again
//     at once is what the refusal is there to stop. Where attempts before it have
//     failed, the call was made, and is given up;
//   - a call whose ctx has ended, which is given up. A deadline of the attempt's
//     own, which ended while ctx is alive, is an error like others;
//   - the [Error] of another Retry, which has given the call up;
//   - a panic, which passes through;
//   - anything, when ctx is an attempt of an outer Retry; see [Attempt].
//
// An error that is not retried is returned as it is. A call that is given up
// returns an *[Error], in which errors.Is finds why ([ErrExhausted], [ErrBudget],
// [ErrDeadline], [ErrPushback], [ErrRefused], or the error of the ctx that has ended)
// and the error of the last attempt. Where ctx has ended and the attempt failed with just that, its
// error says all, and is returned as it is.
//
// Where the error of an attempt says how long to wait ([stability.RetryAfter]), the pause
// is that long and longer, by a jitter of up to half as much and the backoff, as far as the
// deadline of ctx lets it: those who were told the same do not come back together. A pause
// that would not end before the deadline of ctx is not made: Run returns at once. An error
// that says overload ([stability.Overloaded]) is an error like others: the retry is paid
// for, and pauses for as long as was asked for, or for a backoff.
//
// Run allocates the context that marks the attempt, and nothing more when the
// first attempt is the last.
func (r *Retry) Run(ctx context.Context, fn func(context.Context) error) error {
	if r == nil {
		return fn(ctx)
	}
	now := r.live.Load()
	first, nested, err := r.begin(ctx, now)
	if err != nil {
		return err
	}
	// The loop of Around once more: through a Policy fn would escape, and with it
	// every caller's closure.
	var c call
	c.retry, c.cfg, c.caller, c.ctx, c.attempt, c.nested = r, &now.Config, ctx, first, 1, nested
	defer c.unwind()
	for {
		if err, again := c.ended(fn(c.ctx)); !again {
			return err
		}
	}
}

// Around is Run for a function that runs another policy: each attempt is
// inner.Run(ctx, fn), or fn(ctx) where inner is nil. [stability.Chain] uses it to spare each call a closure. A type
// that embeds a Retry and overrides Run overrides Around as well, or it is passed by.
func (r *Retry) Around(ctx context.Context, inner stability.Policy, fn func(context.Context) error) error {
	if inner == nil {
		return r.Run(ctx, fn)
	}
	if r == nil {
		return inner.Run(ctx, fn)
	}
	now := r.live.Load()
	first, nested, err := r.begin(ctx, now)
	if err != nil {
		return err
	}
	var c call
	c.retry, c.cfg, c.caller, c.ctx, c.attempt, c.nested = r, &now.Config, ctx, first, 1, nested
	defer c.unwind()
	for {
		if err, again := c.ended(inner.Run(c.ctx, fn)); !again {
			return err
		}
	}
}

// A call is the attempts at one call.
type call struct {
	retry  *Retry
	cfg    *Config         // as it was when the call began
	caller context.Context // what the caller gave
	ctx    context.Context // of the present attempt
	// attempt is the number of the present attempt.
	attempt int
	// nested tells that an outer Retry decides.
	nested bool
	errs   []error // of the attempts that failed
	over   bool
}

// begin returns the context of the first attempt, and whether others are not this Retry's to
// make: an outer one decides about them, or nobody.
func (r *Retry) begin(ctx context.Context, now *live.State[Config]) (first context.Context, nested bool, err error) {
	if err := ended.Err(ctx); err != nil {
		return nil, false, err
	}
	if now.Mode == stability.ModeOff {
		return ctx, true, nil
	}
	outer := attempts.Of(ctx)
	nested = outer.Number() > 0
	budget := now.Config.Budget.For(ctx)
	if earned := budget.earn(outer); earned || !nested {
		m := attempts.New(ctx)
		m.Attempt, m.Budget, m.Own = max(1, outer.Number()), budget, !nested || outer.IsOwn()
		ctx = m
	}
	return ctx, nested, nil
}

// ended decides after an attempt that ended in err whether another is made, and
// pauses before it. Otherwise it returns what the call ends in.
func (c *call) ended(err error) (_ error, again bool) {
	if err != nil && !c.nested {
		gaveUp := c.next(err)
		if gaveUp == nil {
			return nil, true
		}
		err = gaveUp
	}
	c.over = true // before a Classify that panics
	c.retry.tally.Judge(c.caller, c.cfg.Classify, err)
	return err, false
}

// unwind counts a call that did not return. It does nothing after the end.
func (c *call) unwind() {
	if !c.over {
		c.retry.tally.Count(stability.Failure)
	}
}

// next prepares the attempt after one that failed with err, or returns what the call
// ends in.
func (c *call) next(err error) error {
	r := c.retry
	var gaveUp *Error
	over := c.caller.Err()
	if stability.Rejected(err) && len(c.errs) > 0 {
		c.attempt-- // the last that was made
		if over != nil {
			return c.giveUp(ended.With(c.caller, over))
		}
		return c.giveUp(fmt.Errorf("%w: %w", ErrRefused, refusal.AfterCall{Err: err}))
	}
	if stability.Rejected(err) || errors.As(err, &gaveUp) {
		return err
	}
	if over != nil && errors.Is(err, over) {
		return ended.With(c.caller, err)
	}
	if over == nil && c.cfg.Retryable != nil && !c.cfg.Retryable(err) {
		return err
	}
	if len(c.errs) == maxErrors {
		c.errs = slices.Delete(c.errs, 0, 1)
	}
	c.errs = append(c.errs, err)
	if over != nil {
		return c.giveUp(ended.With(c.caller, over))
	}
	if c.attempt >= c.cfg.Attempts {
		return c.giveUp(ErrExhausted)
	}
	asked, left := stability.RetryAfter(err), forever
	deadline, limited := c.caller.Deadline()
	now := time.Now()
	if limited {
		left = deadline.Sub(now)
	}
	pause := c.cfg.pause(c.attempt, asked, left)
	resume := now.Add(pause)
	if limited && !resume.Before(deadline) {
		return c.giveUp(ErrDeadline)
	} else if !limited && asked > c.cfg.MaxPushback {
		return c.giveUp(ErrPushback)
	}
	budget := c.cfg.Budget.For(c.caller)
	paid, ok := budget.spend()
	if !ok {
		return c.giveUp(ErrBudget)
	}
	if err := c.pause(err, pause, resume, budget, paid); err != nil {
		return c.giveUp(err)
	}
	r.retries.Add(1)
	c.attempt++
	c.ctx = &attempts.Mark{Context: c.caller, Attempt: c.attempt, Budget: budget, Own: true}
	r.event(c.caller, c.attempt, pause)
	return nil
}

func (c *call) giveUp(reason error) error {
	switch errorType(reason) {
	case typeExhausted:
		c.retry.exhausted.Add(1)
	case typeBudget:
		c.retry.overBudget.Add(1)
	case typeDeadline:
		c.retry.outOfTime.Add(1)
	case typePushback:
		c.retry.pushedBack.Add(1)
	case typeRefused:
		c.retry.refused.Add(1)
	}
	return &Error{Name: c.retry.name, Reason: reason, Attempts: c.attempt, Errors: c.errs}
}

// pause returns nil at the time to resume, or the error of the caller's context
// when that ended before: then the budget gets back what it paid.
func (c *call) pause(err error, pause time.Duration, resume time.Time, budget *Budget, paid payment) (gone error) {
	over := false
	defer func() {
		if !over || gone != nil { // or OnRetry panicked
			budget.refund(paid)
		}
	}()
	if c.cfg.OnRetry != nil {
		c.cfg.OnRetry(c.ctx, err, pause)
	}
	gone = sleep(c.caller, time.Until(resume))
	over = true
	return gone
}

// sleep returns nil after d, or the error of ctx when that ended before.
func sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ended.Err(ctx)
}

// Do is [Retry.Run] for a function that returns a value. It returns the value of
// the last attempt; those of attempts before it are dropped.
func Do[T any](ctx context.Context, r *Retry, fn func(context.Context) (T, error)) (T, error) {
	if r == nil {
		return fn(ctx)
	}
	now := r.live.Load()
	first, nested, err := r.begin(ctx, now)
	if err != nil {
		var zero T
		return zero, err
	}
	var c call
	c.retry, c.cfg, c.caller, c.ctx, c.attempt, c.nested = r, &now.Config, ctx, first, 1, nested
	defer c.unwind()
	for {
		v, err := fn(c.ctx)
		if err, again := c.ended(err); !again {
			return v, err
		}
	}
}
