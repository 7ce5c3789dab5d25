// Package hedge makes a call a second time when the first is slow, and takes
// whichever succeeds first. It cuts the long tail of latencies that single slow
// machines cause, at the price of a few calls more; it does not help where the
// dependency as a whole is slow, and there the budget stops it.
//
// The pattern: Dean and Barroso, The Tail at Scale (Communications of the ACM
// 56(2), 2013), hedged requests.
//
// Only calls that may safely happen twice should be hedged.
package hedge

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/retry"
)

// ErrLost is the context.Cause of the context of a call that was canceled because
// another one was first.
var ErrLost = errors.New("hedge: another call was first")

const policy = "hedge"

// A Hedge decides when a call is made again beside itself; [Do] and [Open] make
// it. It is no [stability.Policy], because it runs calls at the same time.
//
// A nil *Hedge makes every call once. It may be used by any number of goroutines.
type Hedge struct {
	live        live.Value[Config] // with the defaults, and a Budget
	name        string
	own         *retry.Budget // in place of a Config.Budget; made when it is needed first
	instruments instruments
	latencies   latencies                   // of all calls; not used where the delay is fixed, or there are
	members     *stability.Group[latencies] // those of the calls of each key

	tally                    telemetry.Tally
	started, won, suppressed stripe.Counter
}

// New returns a hedge. It panics with the error of [Config.Validate] when cfg is
// not usable.
func New(cfg Config) *Hedge {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	h := &Hedge{name: cfg.Name, instruments: newInstruments(cfg)}
	cfg = h.complete(cfg)
	h.live.Init(cfg)
	h.latencies.share = cfg.Percentile
	if cfg.Key != nil {
		h.members = stability.NewGroup(cfg.Keys, stability.Members[latencies]{
			Create: func(l *latencies, key string, _ bool) { l.share, l.key = h.live.Config().Percentile, key },
			Key:    func(l *latencies) string { return l.key },
			Blank:  func(*latencies) bool { return true },
		})
	}
	telemetry.Observe(h.instruments.meter, h, func(h *Hedge, o metric.Observer) { h.instruments.observe(o, h.Stats()) })
	telemetry.Register(h.instruments.meter, h, source)
	return h
}

// of returns the latencies that say how long to wait for a call in ctx; nil: none do.
func (h *Hedge) of(ctx context.Context, cfg *Config) *latencies {
	switch {
	case cfg.Delay > 0:
		return nil
	case h.members != nil:
		return h.members.Get(cfg.Key(ctx))
	default:
		return &h.latencies
	}
}

// delay returns how long to wait before the next call.
func (c *Config) delay(l *latencies) time.Duration {
	if l == nil {
		return c.Delay
	}
	d, known := l.percentile()
	if !known {
		return c.MaxDelay
	}
	return min(max(d, c.MinDelay), c.MaxDelay)
}

// longest returns the longest delay of any key.
func (h *Hedge) longest(cfg *Config) time.Duration {
	switch {
	case cfg.Delay > 0:
		return cfg.Delay
	case h.members == nil:
		return cfg.delay(&h.latencies)
	}
	longest, some := time.Duration(0), false
	for _, l := range h.members.All() {
		longest, some = max(longest, cfg.delay(l)), true
	}
	if !some {
		return cfg.MaxDelay
	}
	return longest
}

// Do calls fn on the caller's goroutine, and when that takes longer than the
// hedge's delay, calls it once more on another one, up to Config.Max calls. It
// returns what the first of them to succeed returned; where none does, what the
// first one made returned, or, if that was refused, the first that was not. A call
// that fails leaves the others alone, and when no other is running the failure is
// returned at once: to call again after a failure is what a retry does.
//
// Time that a call waits on the caller's own side is no slowness of the dependency: in
// the queue of a bulkhead or of a rate limiter within fn, or where fn says so with
// [Waiting]. It does not count towards the delay, nor as latency, and a call that waits
// is not running: when all others have failed, it is canceled and not waited for, since
// it may wait for what one of them still holds.
//
// When a call has succeeded, the contexts of the others are canceled, with the
// cause [ErrLost], so that the gates inside fn ignore how they end. Do waits for
// them, so fn must heed its context. Where another call succeeds all the same, its
// value is given to each dispose, on the caller's goroutine: to close a body, a
// connection, a file. The context that the returned value was made under is
// canceled when Do returns; [Open] is for values that need it longer.
//
// The extra calls are paid for by Config.Budget. When that is spent they are not
// made, and the first call goes on alone.
//
// A panic or runtime.Goexit in any of the calls cancels the others and reaches the
// caller, with its value, when they have ended; values that they returned are
// given to dispose. When ctx has ended before the call, Do returns ctx.Err() and
// does not call fn, unless h is nil.
func Do[T any](ctx context.Context, h *Hedge, fn func(context.Context) (T, error), dispose ...func(T)) (T, error) {
	v, release, err := Open(ctx, h, fn, dispose...)
	release()
	return v, err
}

// Waiting tells the hedge that made the call of ctx that the call waits on the caller's
// own side, for a connection of a pool for instance, until sent is called. [Do] says what
// that means. The gates of this module that queue do it by themselves.
//
// sent may be called more than once; the first call counts. Both may be called by any
// goroutine, at any time, and with a ctx that belongs to no hedge: then they do nothing.
// Where hedges are nested, the innermost is told.
func Waiting(ctx context.Context) (sent func()) {
	wait := onhold.Begin(ctx)
	var once sync.Once
	return func() { once.Do(wait.End) }
}

// Open is [Do] for a value that lives on under the context it was made under: a
// response body, a stream, a set of rows. release cancels that context; it must be
// called when the value is no longer used, and may be called more than once.
func Open[T any](ctx context.Context, h *Hedge, fn func(context.Context) (T, error), dispose ...func(T)) (v T, release context.CancelFunc, err error) {
	if h == nil {
		v, err = fn(ctx)
		return v, func() {}, err
	}
	if err := ended.Err(ctx); err != nil {
		return v, func() {}, err
	}
	now := h.live.Load()
	if now.Mode == stability.ModeOff {
		v, err = fn(ctx)
		return v, func() {}, err
	}
	r := &race[T]{hedge: h, cfg: &now.Config, caller: ctx, fn: fn, dispose: dispose}
	return r.run()
}
