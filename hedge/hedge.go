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
	"fmt"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/keyed"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/retry"
)

// ErrLost is the context.Cause of the context of a call that was canceled because
// another one was first.
var ErrLost = errors.New("hedge: another call was first")

const policy = "hedge"

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
	if c.Budget == nil {
		c.Budget = retry.NewBudget(retry.BudgetConfig{})
	}
	return c
}

// A Hedge decides when a call is made again beside itself; [Do] and [Open] make
// it. It is no [stability.Policy], because it runs calls at the same time.
//
// A nil *Hedge makes every call once. It may be used by any number of goroutines.
type Hedge struct {
	cfg         Config
	instruments instruments
	latencies   *latencies            // of all calls; nil: the delay is fixed, or
	members     *keyed.Map[latencies] // of the calls of each key

	tally                    telemetry.Tally
	started, won, suppressed stripe.Counter
}

// New returns a hedge. It panics with the error of [Config.Validate] when cfg is
// not usable.
func New(cfg Config) *Hedge {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg = cfg.withDefaults()
	h := &Hedge{cfg: cfg, instruments: newInstruments(cfg)}
	switch {
	case cfg.Key != nil:
		h.members = keyed.New(cfg.Keys, keyed.Members[latencies]{
			Create: func(l *latencies, key string, _ bool) { l.share, l.key = cfg.Percentile, key },
			Key:    func(l *latencies) string { return l.key },
			Blank:  func(*latencies) bool { return true },
		})
	case cfg.Delay == 0:
		h.latencies = newLatencies(cfg.Percentile)
	}
	telemetry.Observe(h.instruments.meter, h, func(h *Hedge, o metric.Observer) { h.instruments.observe(o, h.Stats()) })
	telemetry.Register(h.instruments.meter, h, (*Hedge).point)
	return h
}

// of returns the latencies that say how long to wait for a call in ctx; nil: none do.
func (h *Hedge) of(ctx context.Context) *latencies {
	if h.members != nil {
		return h.members.Get(h.cfg.Key(ctx))
	}
	return h.latencies
}

// delay returns how long to wait before the next call.
func (h *Hedge) delay(l *latencies) time.Duration {
	if l == nil {
		return h.cfg.Delay
	}
	d, known := l.percentile()
	if !known {
		return h.cfg.MaxDelay
	}
	return min(max(d, h.cfg.MinDelay), h.cfg.MaxDelay)
}

// longest returns the longest delay of any key.
func (h *Hedge) longest() time.Duration {
	if h.members == nil {
		return h.delay(h.latencies)
	}
	longest, some := time.Duration(0), false
	for l := range h.members.All() {
		longest, some = max(longest, h.delay(l)), true
	}
	if !some {
		return h.cfg.MaxDelay
	}
	return longest
}

// Stats is what a [Hedge] is doing and has done.
type Stats struct {
	stability.Calls               // one for each use of the hedge, however many calls it made; none is Rejected
	Hedges          int64         // calls made beside a first one
	Won             int64         // of them, those whose value was taken
	Suppressed      int64         // calls that were not made beside a slow one because the budget was spent
	Delay           time.Duration // how long a call may take at present before another one is made; the longest of all keys
	// Budget is the budget that pays, with all that share it.
	Budget retry.BudgetStats
}

// Stats returns a reading of the moment.
func (h *Hedge) Stats() Stats {
	if h == nil {
		return Stats{}
	}
	return Stats{
		Calls:      h.tally.Calls(),
		Hedges:     h.started.Load(),
		Won:        h.won.Load(),
		Suppressed: h.suppressed.Load(),
		Delay:      h.longest(),
		Budget:     h.cfg.Budget.Stats(),
	}
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
	r := &race[T]{hedge: h, caller: ctx, fn: fn, dispose: dispose}
	return r.run()
}
