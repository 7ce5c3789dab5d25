package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/internal/window"
)

// What the state machine is told of a probe that did not succeed.
var (
	errProbeFailed  = errors.New("probe failed")
	errProbeIgnored = errors.New("probe ignored")
)

// Refused returns the [stability.Rejection] of a call that a breaker which is open would
// refuse, and counts it; or nil where only Admit can tell. It takes nothing. It is for
// adapters whose calls wait for something else before they ask the breaker, a permit or
// a token: who is going to be refused need not wait for it.
func (b *Breaker) Refused(ctx context.Context) error { return b.refusedAtOnce(ctx) }

// refusedAtOnce returns the Rejection that an open stay keeps ready, if it does. It
// is most of what a call costs while the breaker is open, which is when calls come
// thickest: the admission that Admit fills in would cost as much again (BenchmarkOpen).
func (b *Breaker) refusedAtOnce(ctx context.Context) error {
	if b == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ended.Err(ctx)
	}
	s := b.stay.Load()
	r := s.ready.Load()
	if r == nil || !s.forced() && b.observes() {
		return nil
	}
	// The first ones are few, and may be all that a test in a bubble makes.
	if n := b.totals.tally.CountRejected(); n&0xff == 0 || n < 0x40 {
		s.distrust()
	}
	telemetry.Rejected(ctx, r)
	return r
}

// admitSlow decides about a call that is neither simply let through nor simply
// refused. It returns the context that the call runs under.
func (b *Breaker) admitSlow(ctx context.Context) (context.Context, stability.Releaser, *stability.Rejection) {
	from := b.madeIn(ctx)
	now := b.lock()
	g, refusal := b.decide(now, from)
	if b.news() || b.unshortened != nil {
		b.unlockAndTellBefore(ctx, g)
	} else {
		b.mu.Unlock()
	}
	switch {
	case refusal == nil:
		if m, ok := g.(*marked); ok {
			ctx = context.WithValue(ctx, b, m)
		}
		return ctx, g, nil
	case refusal.Reason != ErrForcedOpen && b.observes(): //nolint:errorlint // Our own.
		b.totals.observed.Add(1)
		if b.sum != nil {
			b.sum.observed.Add(1)
		}
		return ctx, (*bystander)(b), nil
	default:
		b.totals.tally.CountRejected()
		telemetry.Rejected(ctx, refusal)
		return ctx, nil, refusal
	}
}

// decide is the whole decision about one call, which was made in another one or in none
// (nil). The caller holds mu.
func (b *Breaker) decide(now time.Time, from *marked) (stability.Releaser, *stability.Rejection) {
	b.lapse(now)
	s := b.stay.Load()
	within := from != nil && from.stay == s && !from.over.Load()
	switch {
	case s.state == Closed:
		switch {
		case within || b.ramped(s, now):
			return s, nil
		case b.inShare(s, now):
			return &marked{Releaser: s, stay: s}, nil
		}
		return nil, b.refusal(0)
	case s.forced():
		return nil, s.ready.Load()
	case s.state == HalfOpen && within:
		return (*bystander)(b), nil
	case s.state == Open && now.Before(s.due):
		return nil, b.refusal(s.due.Sub(now))
	}
	done, err := s.machine.Allow()
	if s.state == Open && s.machine.state == gobreaker.StateHalfOpen {
		due := s.due
		s = &stay{b: b, state: HalfOpen, machine: s.machine, openFor: b.openTime(b.streak + 1), spare: newMachine(b.config())}
		b.enter(s, due, reason{cause: CauseOpenTimeOver})
	}
	if err != nil {
		return nil, b.refusal(0)
	}
	l := &lease{stay: s, until: now.Add(b.config().ProbeFor), done: done}
	s.leases = append(s.leases, l)
	return &marked{Releaser: l, stay: s}, nil
}

// lock locks mu and returns the time. Where that is before what it was, it is that of
// another clock, such as a test's next bubble has, and what b waits for is made to be as
// far off by this one.
func (b *Breaker) lock() time.Time {
	b.mu.Lock()
	now := time.Now()
	if by := now.Sub(b.seen); by < 0 {
		b.since = b.since.Add(by)
		b.real.rampEnd = b.real.rampEnd.Add(by)
		for _, l := range b.real.leases {
			l.until = l.until.Add(by)
		}
		switch s := b.real; s.state {
		case Open:
			b.enter(b.newOpen(newMachine(b.config()), s.openFor, s.due.Add(by)), now, reason{})
		case HalfOpen:
			s.spare = newMachine(b.config())
		case Closed:
		}
	}
	b.seen = now
	return now
}

// inShare admits a share of the calls that grows from a tenth to all until the end
// of the ramp. It spreads those admitted evenly, without chance. The caller holds
// mu.
func (b *Breaker) inShare(s *stay, now time.Time) bool {
	left := float64(s.rampEnd.Sub(now)) / float64(s.rampFor)
	s.credit += max(1-0.9*left, 0.1)
	if s.credit < 1 {
		return false
	}
	s.credit--
	return true
}

// ramped reports whether s has no ramp or is past it, and notes when it is: the
// recovery is complete then. The caller holds mu.
func (b *Breaker) ramped(s *stay, now time.Time) bool {
	if !s.ramping.Load() {
		return true
	}
	if now.Before(s.rampEnd) {
		return false
	}
	s.ramping.Store(false)
	b.streak = 0
	return true
}

func (b *Breaker) refusal(retryAfter time.Duration) *stability.Rejection {
	return &stability.Rejection{Policy: policy, Name: b.name, Key: b.key, Reason: ErrOpen, RetryAfter: retryAfter}
}

// settleClosed counts a call that s admitted while it was closed, and that ended in err.
func (b *Breaker) settleClosed(ctx context.Context, s *stay, outcome stability.Outcome, slow bool, err error) {
	var counts window.Counts
	cfg := b.config()
	switch {
	case outcome == stability.Ignored:
		return
	case outcome == stability.Success:
		if cfg.Consecutive > 0 && s.inARow.Load() != 0 {
			s.inARow.Store(0)
		}
		if !slow {
			s.window.Success()
			return
		}
		counts, err = s.window.SlowSuccess(), nil
	default:
		counts = s.window.Failure(slow)
		if cfg.Consecutive > 0 {
			s.inARow.Add(1)
		}
	}
	if b.cause(s, counts) != "" {
		b.judge(ctx, s, err)
	}
}

// judge opens the breaker where the counts of s, to which a call that ended in err has
// just been added, say so, with the successes of the present step.
func (b *Breaker) judge(ctx context.Context, s *stay, err error) {
	counts := s.window.Counts()
	cause := b.cause(s, counts)
	if cause == "" {
		return
	}
	now := b.lock()
	// In other modes, and after the stay has ended, nothing follows.
	if b.mode == stability.ModeOn && b.real == s {
		b.open(now, reason{cause, err, counts})
	}
	b.unlockAndTell(ctx)
}

// cause returns why counts open a closed breaker, or "".
func (b *Breaker) cause(s *stay, counts window.Counts) Cause {
	cfg, calls := b.config(), counts.Calls()
	switch {
	case cfg.Consecutive > 0 && s.inARow.Load() >= int64(cfg.Consecutive):
		return CauseConsecutive
	case calls < int64(cfg.MinCalls):
		return ""
	case reached(cfg.FailureRatio, counts.Failures, calls):
		return CauseFailureRatio
	case cfg.SlowCall > 0 && reached(cfg.SlowRatio, counts.Slow, calls):
		return CauseSlowRatio
	default:
		return ""
	}
}

// reached reports whether n of calls are the ratio or more. A quotient is rounded as the
// ratio was when it was written down, so that 55 of 100 are 0.55; a product is not.
func reached(ratio float64, n, calls int64) bool { return float64(n)/float64(calls) >= ratio }

// settleProbe ends the lease of a probe that is back with err. One that has lapsed, or
// whose stay has ended, changes nothing.
func (b *Breaker) settleProbe(ctx context.Context, l *lease, outcome stability.Outcome, slow bool, err error) {
	now := b.lock()
	b.lapse(now)
	switch {
	case l.done == nil:
	case outcome == stability.Ignored:
		l.end(errProbeIgnored)
	case outcome == stability.Success && !slow:
		l.end(nil)
		l.answered = true
		if l.stay.machine.state == gobreaker.StateClosed {
			b.close(now)
			l.next = b.real
		}
	default:
		if outcome == stability.Success {
			err = nil
		}
		l.end(errProbeFailed)
		b.reopen(now, now, reason{cause: CauseProbeFailed, err: err})
	}
	b.unlockAndTell(ctx)
}

// end gives the slot back and tells the state machine the result. The caller holds
// mu.
func (l *lease) end(result error) {
	for i, other := range l.stay.leases {
		if other == l {
			l.stay.leases = append(l.stay.leases[:i], l.stay.leases[i+1:]...)
			break
		}
	}
	done := l.done
	l.done = nil
	done(result)
}

// lapse opens the breaker again where a probe is not back in its time: as of then, though
// nobody came to see it. The caller holds mu.
func (b *Breaker) lapse(now time.Time) {
	if l := b.real.lapsed(now); l != nil {
		b.reopen(l.until, now, reason{cause: CauseProbeLapsed})
	}
}

// reopen opens the breaker again after a probe that failed at the given time, for longer
// than before. The caller holds mu.
func (b *Breaker) reopen(at, now time.Time, why reason) {
	b.streak++
	b.enterOpen(b.real.spare, b.real.openFor, at, now, why)
}

// open opens a closed breaker. The caller holds mu.
func (b *Breaker) open(now time.Time, why reason) {
	if !b.ramped(b.real, now) {
		b.streak++ // a ramp that fails is a recovery that failed
	}
	b.enterOpen(newMachine(b.config()), b.openTime(b.streak), now, now, why)
}

func (b *Breaker) enterOpen(m *machine, openFor time.Duration, at, now time.Time, why reason) {
	b.opened++
	s := b.newOpen(m, openFor, at.Add(openFor))
	if b.config().Jitter != nil && openFor >= jitterShare && now.Before(s.due) {
		b.unshortened = s
	}
	b.enter(s, at, why)
}

// jitterShare is the part of an open time that it may be shortened by: a tenth.
const jitterShare = 10

func (b *Breaker) newOpen(m *machine, openFor time.Duration, due time.Time) *stay {
	s := &stay{b: b, state: Open, machine: m, openFor: openFor, due: due}
	s.keepReady(nil, *b.refusal(0), max(openFor/renewals, time.Millisecond))
	return s
}

// shorten asks Jitter by how much, and puts a stay that ends sooner in the place of
// s. Jitter is the user's: it may use the breaker, take its time, or not return. s
// refuses for all of its time until then. The caller does not hold mu.
func (b *Breaker) shorten(s *stay) {
	jitter := b.config().Jitter
	if jitter == nil { // Reconfigure has taken it away
		return
	}
	longest := s.openFor / jitterShare
	by := min(max(jitter(longest), 0), longest)
	now := b.lock()
	defer b.mu.Unlock()
	if b.real == s {
		due := later(s.due.Add(-by), now.Add(1))
		b.enter(b.newOpen(s.machine, due.Sub(now), due), now, reason{}) // the same state: no change
	}
}

// openTime returns how long to stay open after so many failed recoveries: OpenFor,
// doubled with each up to MaxOpenFor, and shortened by chance, unless Config.Jitter is
// still to be asked by how much.
func (b *Breaker) openTime(streak int) time.Duration {
	cfg := b.config()
	d := cfg.OpenFor
	for range streak {
		if d >= cfg.MaxOpenFor/2 {
			d = cfg.MaxOpenFor
			break
		}
		d *= 2
	}
	if cfg.Jitter == nil {
		d -= rand.N(d/jitterShare + 1) //nolint:gosec // Jitter needs no secrecy.
	}
	return d
}

// close closes the state machine. The caller holds mu.
func (b *Breaker) close(now time.Time) {
	s := b.newClosed()
	if rampFor := b.config().RampFor; rampFor > 0 {
		s.rampEnd, s.rampFor = now.Add(rampFor), rampFor
		s.ramping.Store(true)
	} else {
		b.streak = 0
	}
	b.enter(s, now, reason{cause: CauseProbesSucceeded})
}

func (b *Breaker) newClosed() *stay {
	s := &stay{b: b, state: Closed}
	cfg := b.config()
	s.window.Init(cfg.Window, cfg.MinCalls)
	return s
}

// A reason is what a change of state comes from.
type reason struct {
	cause  Cause
	err    error         // of the call that failed
	counts window.Counts // of the closed stay that ends
}

// enter makes s what the state machine has said since the given time. The caller holds
// mu.
func (b *Breaker) enter(s *stay, at time.Time, why reason) {
	if b.real != s {
		for _, l := range b.real.leases {
			l.done = nil // their slots end with their stay
		}
		b.real.leases = nil
		b.real.ready.Store(nil)
		b.real = s
	}
	if b.mode == stability.ModeOn {
		b.show(s, at, why)
	}
}

// show makes s what callers see, and notes a change for whoever is to be told. The
// caller holds mu.
func (b *Breaker) show(s *stay, at time.Time, why reason) {
	from := b.stay.Swap(s).state
	if from == s.state {
		return
	}
	b.since = later(b.since, at)
	b.totals.entered[s.state].Add(1)
	if b.sum != nil {
		b.sum.entered[s.state].Add(1)
	}
	b.pending = append(b.pending, Change{
		Name: b.name, Key: b.key, From: from, To: s.state,
		Cause: why.cause, Err: why.err, Counts: Counts(why.counts), At: b.since,
	})
}

// news reports whether there are changes that the caller, who holds mu, is to tell
// of. A goroutine that is telling looks for more before it leaves.
func (b *Breaker) news() bool { return len(b.pending) > 0 && !b.telling }

// unlockAndTell releases mu and calls those who have a say in what has changed, or
// are to be told of it.
func (b *Breaker) unlockAndTell(ctx context.Context) {
	news, unshortened := b.news(), b.unshortened
	b.unshortened = nil
	b.mu.Unlock()
	if news {
		defer b.tell(ctx) // also when Jitter panics
	}
	if unshortened != nil {
		b.shorten(unshortened)
	}
}

// unlockAndTellBefore is unlockAndTell before a call begins that g let in. If one of
// those called panics the call does not begin, and a probe's slot comes back.
func (b *Breaker) unlockAndTellBefore(ctx context.Context, g stability.Releaser) {
	told := false
	defer func() {
		if m, ok := g.(*marked); ok && !told {
			m.over.Store(true)
			if l, ok := m.Releaser.(*lease); ok {
				b.settleProbe(ctx, l, stability.Ignored, false, nil)
			}
		}
	}()
	b.unlockAndTell(ctx)
	told = true
}

// tell tells of the changes that are pending, unless another goroutine is at it.
// The caller does not hold mu.
func (b *Breaker) tell(ctx context.Context) {
	for {
		b.mu.Lock()
		if !b.news() {
			b.mu.Unlock()
			return
		}
		c := b.pending[0]
		b.pending = b.pending[1:]
		b.telling = true
		b.mu.Unlock()
		b.tellOne(ctx, c)
	}
}

func (b *Breaker) tellOne(ctx context.Context, c Change) {
	told := false
	defer func() {
		b.mu.Lock()
		b.telling = false
		b.mu.Unlock()
		if !told {
			b.tell(ctx) // the listener panicked; the others still hear of the rest
		}
	}()
	cfg := b.config()
	c.report(ctx, cfg.Logger)
	if cfg.OnChange != nil {
		cfg.OnChange(c)
	}
	told = true
}
