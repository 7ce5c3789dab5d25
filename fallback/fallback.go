// Package fallback answers for a call that failed or was refused with a value that
// stands in for the real one, and says so.
//
// The pattern is the fallback of Netflix's Hystrix, and what Nygard, Release It!
// (2nd ed., 2018), section 5.2, asks a circuit breaker's caller to decide: what to do
// when the dependency is not there. A fallback should be simpler than what it stands
// in for and need nothing remote, or it fails at the same time, untested
// (Gabrielson, Avoiding fallback in distributed systems, Amazon Builders' Library).
package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/refusal"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

const policy = "fallback"

// Config configures a [Fallback]. The zero Config is valid.
type Config struct {
	// Name names the fallback in telemetry. Default "".
	Name string
	// Classify judges how calls ended. A fallback answers for those that are a
	// Failure: an error that Classify calls a Success, such as a row that does not
	// exist, reaches the caller. Default [stability.Classify].
	Classify stability.Classifier
	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// A Fallback counts and reports the calls of [Do] that another value answered for.
//
// A nil *Fallback lets every error through. All methods may be called by any number
// of goroutines.
type Fallback struct {
	*settings
	tally                telemetry.Tally
	degraded, unanswered stripe.Counter
	off                  atomic.Bool
}

// New returns a fallback.
func New(cfg Config) *Fallback {
	f := &Fallback{settings: newSettings(cfg)}
	telemetry.Observe(f.meter, f, func(f *Fallback, o metric.Observer) { f.observe(o, f.Stats()) })
	telemetry.Register(f.meter, f, source)
	return f
}

// SetMode puts a mode in force for the calls that begin from now on: ModeOn, or ModeOff, in
// which every error reaches the caller, as if there was no Fallback. It returns an error for
// every other mode: a fallback refuses nothing.
func (f *Fallback) SetMode(mode stability.Mode) error {
	if f == nil {
		return nil
	}
	if mode != stability.ModeOn && mode != stability.ModeOff {
		return fmt.Errorf("%s: mode %v is neither on nor off", policy, mode)
	}
	f.off.Store(mode == stability.ModeOff)
	return nil
}

// Stats is what a [Fallback] has done.
type Stats struct {
	// Calls is how the calls themselves ended. None is Rejected: a call that a policy
	// inside refused is Ignored.
	stability.Calls
	Degraded   int64          // calls answered with another value
	Unanswered int64          // calls for which there was no other value either
	Mode       stability.Mode // in force
}

// Stats returns a reading of the moment.
func (f *Fallback) Stats() Stats {
	if f == nil {
		return Stats{}
	}
	s := Stats{Calls: f.tally.Calls(), Degraded: f.degraded.Load(), Unanswered: f.unanswered.Load()}
	if f.off.Load() {
		s.Mode = stability.ModeOff
	}
	return s
}

// Do calls fn and returns its value. Where fn failed, or a policy inside it refused
// the call, it returns the value of instead, which is given the error, and a
// [stability.Degraded] that names the error as its Cause. Degraded is nil exactly
// where the value is fn's own.
//
//	v, degraded, err := fallback.Do(ctx, f,
//		func(ctx context.Context) (List, error) { return stability.Do(ctx, guard, fetch) },
//		func(context.Context, error) (List, error) { return popular, nil })
//
// The error is fn's where nothing stands in for it: when the caller canceled ctx,
// when Config.Classify does not call it a failure, or when f or instead is nil. Where instead
// failed too, errors.Is finds both errors. When ctx ended before the call, Do returns
// ctx.Err() and calls neither function, unless f is nil. A deadline that passes during
// the call is a failure of fn: instead is then called with a ctx that has ended.
//
// Do blocks for as long as fn and instead do. A panic of either passes through; one of
// fn does not call instead.
func Do[T any](
	ctx context.Context, f *Fallback,
	fn func(context.Context) (T, error), instead func(context.Context, error) (T, error),
) (T, *stability.Degraded, error) {
	var zero T
	if f == nil || f.off.Load() {
		v, err := fn(ctx)
		return v, nil, err
	}
	if err := ended.Err(ctx); err != nil {
		return zero, nil, err
	}
	v, covered, err := call(ctx, f, fn)
	if !covered {
		return v, nil, err
	}
	if instead == nil {
		f.unanswered.Add(1)
		return v, nil, err
	}
	answered := false
	defer func() {
		if !answered { // also where instead does not return
			f.unanswered.Add(1)
		}
	}()
	v, failed := instead(ctx, err)
	if failed != nil {
		if stability.Rejected(failed) && !stability.Rejected(err) {
			failed = refusal.AfterCall{Err: failed}
		}
		return zero, nil, fmt.Errorf("%w; fallback: %w", err, failed)
	}
	answered = true
	f.degraded.Add(1)
	f.event(ctx, err)
	return v, &stability.Degraded{Cause: err}, nil
}

// call calls fn, counts how it ended, and reports whether the fallback answers for it.
func call[T any](ctx context.Context, f *Fallback, fn func(context.Context) (T, error)) (v T, covered bool, err error) {
	outcome := stability.Failure // also where fn, or Classify, does not return
	defer func() { f.tally.Count(outcome) }()
	v, err = fn(ctx)
	outcome = f.cfg.Classify.Outcome(ctx, err)
	covered = err != nil && !errors.Is(ctx.Err(), context.Canceled) &&
		(outcome == stability.Failure || stability.Rejected(err))
	return v, covered, ended.Of(ctx, err)
}

func (f *Fallback) event(ctx context.Context, cause error) {
	telemetry.Event(ctx, "stability.degraded", policy, f.cfg.Name, func() []attribute.KeyValue {
		kind := "_OTHER"
		var r *stability.Rejection
		if errors.As(cause, &r) {
			kind = r.ErrorType()
		}
		return []attribute.KeyValue{telemetry.KeyError.String(kind)}
	})
}
