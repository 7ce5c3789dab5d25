package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/internal/window"
)

// What the state machine is told of a probe that did not succeed.
var (
	errProbeFailed  = errors.New("probe failed")
	errProbeIgnored = errors.New("probe ignored")
)

// refusedAtOnce returns the Rejection that an open stay keeps ready, if it does. It
// is most of what a call costs while the breaker is open, which is when calls come
// thickest: the admission that Admit fills in would cost as much again (BenchmarkOpen).
func (b *Breaker) refusedAtOnce(ctx context.Context) error {
	if b == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s := b.stay.Load()
	r := s.ready.Load()
	if r == nil || b.cfg.Observe {
		return nil
	}
	if b.totals.tally.CountRejected()&0xff == 0 {
		s.distrust()
	}
	telemetry.Rejected(ctx, r)
	return r
}

// admitSlow decides about a call that is neither simply let through nor simply
// refused.
func (b *Breaker) admitSlow(ctx context.Context) (g grant, refusal *stability.Rejection) {
	b.mu.Lock()
	g, refusal = b.decide(time.Now())
	if b.news() || b.unshortened != nil {
		b.unlockAndTellBefore(ctx, g)
	} else {
		b.mu.Unlock()
	}
	switch {
	case refusal == nil:
		return g, nil
	case b.cfg.Observe:
		b.totals.observed.Add(1)
		if b.sum != nil {
			b.sum.observed.Add(1)
		}
		return (*observer)(b), nil
	default:
		b.totals.tally.CountRejected()
		telemetry.Rejected(ctx, refusal)
		return nil, refusal
	}
}

// decide is the whole decision about one call. The caller holds mu.
func (b *Breaker) decide(now time.Time) (grant, *stability.Rejection) {
	s := b.stay.Load()
	if s.state == HalfOpen && s.lapsed(now) != nil {
		b.fail(CauseProbeLapsed)
		s = b.stay.Load()
	}
	switch {
	case s.state == Closed:
		if s.ramping.Load() && !b.inShare(s, now) {
			return nil, b.refusal(0)
		}
		return s, nil
	case s.state == Open && (s.due.IsZero() || now.Before(s.due)):
		return nil, b.refusal(s.retryAfter(now))
	}
	done, err := s.machine.Allow()
	if s.state == Open && s.machine.state == gobreaker.StateHalfOpen {
		s = &stay{b: b, state: HalfOpen, machine: s.machine}
		b.enter(s, CauseOpenTimeOver)
	}
	if err != nil {
		return nil, b.refusal(0)
	}
	l := &lease{stay: s, until: now.Add(b.cfg.ProbeFor), done: done}
	s.leases = append(s.leases, l)
	return l, nil
}

// inShare admits a share of the calls that grows from a tenth to all until the end
// of the ramp. It spreads those admitted evenly, without chance. The caller holds
// mu.
func (b *Breaker) inShare(s *stay, now time.Time) bool {
	if b.ramped(s, now) {
		return true
	}
	left := float64(s.rampEnd.Sub(now)) / float64(b.cfg.RampFor)
	s.credit += max(1-0.9*left, 0.1) // more may be left to another clock, such as that of a test's next bubble
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
	return &stability.Rejection{Policy: policy, Name: b.cfg.Name, Key: b.key, Reason: ErrOpen, RetryAfter: retryAfter}
}

// settleClosed counts a call that s admitted while it was closed.
func (b *Breaker) settleClosed(ctx context.Context, s *stay, outcome stability.Outcome, slow bool) {
	var counts window.Counts
	switch {
	case outcome == stability.Ignored:
		return
	case outcome == stability.Success:
		if b.cfg.Consecutive > 0 && s.inARow.Load() != 0 {
			s.inARow.Store(0)
		}
		if !slow {
			s.window.Success()
			return
		}
		counts = s.window.SlowSuccess()
	default:
		counts = s.window.Failure(slow)
		if b.cfg.Consecutive > 0 {
			s.inARow.Add(1)
		}
	}
	why := b.cause(s, counts)
	if why != "" {
		why = b.cause(s, s.window.Counts()) // with the successes of the present step
	}
	if why == "" {
		return
	}
	b.mu.Lock()
	// In other modes, and after the stay has ended, nothing follows.
	if b.mode == Auto && b.real == s {
		b.open(why)
	}
	b.unlockAndTell(ctx)
}

// cause returns why counts open a closed breaker, or "".
func (b *Breaker) cause(s *stay, counts window.Counts) Cause {
	calls := counts.Calls()
	switch {
	case b.cfg.Consecutive > 0 && s.inARow.Load() >= int64(b.cfg.Consecutive):
		return CauseConsecutive
	case calls < int64(b.cfg.MinCalls):
		return ""
	case float64(counts.Failures) >= b.cfg.FailureRatio*float64(calls):
		return CauseFailureRatio
	case b.cfg.SlowCall > 0 && float64(counts.Slow) >= b.cfg.SlowRatio*float64(calls):
		return CauseSlowRatio
	default:
		return ""
	}
}

// settleProbe ends the lease of a probe that is back. One that has lapsed, or whose
// stay has ended, changes nothing.
func (b *Breaker) settleProbe(ctx context.Context, l *lease, outcome stability.Outcome, slow bool) {
	b.mu.Lock()
	switch {
	case l.done == nil:
	case l.stay.lapsed(time.Now()) != nil:
		b.fail(CauseProbeLapsed)
	case outcome == stability.Ignored:
		l.end(errProbeIgnored)
	case outcome == stability.Success && !slow:
		l.end(nil)
		l.answered = true
		if l.stay.machine.state == gobreaker.StateClosed {
			b.close()
			l.next = b.real
		}
	default:
		l.end(errProbeFailed)
		b.fail(CauseProbeFailed)
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

// fail opens the breaker again after a probe, for longer than before. The caller
// holds mu.
func (b *Breaker) fail(why Cause) {
	b.streak++
	b.open(why)
}

// open opens the state machine. The caller holds mu.
func (b *Breaker) open(why Cause) {
	if !b.ramped(b.real, time.Now()) {
		b.streak++ // a ramp that fails is a recovery that failed
	}
	b.opened++
	d := b.openTime()
	longest := d / jitterShare
	if b.cfg.Jitter == nil {
		d -= rand.N(longest + 1) //nolint:gosec // Jitter needs no secrecy.
	}
	s := b.newOpen(d)
	if b.cfg.Jitter != nil && longest > 0 {
		b.unshortened = s
	}
	b.enter(s, why)
}

// jitterShare is the part of an open time that it may be shortened by: a tenth.
const jitterShare = 10

func (b *Breaker) newOpen(openFor time.Duration) *stay {
	s := &stay{b: b, state: Open, openFor: openFor}
	s.machine, s.due = newMachine(&b.cfg, openFor)
	s.keepReady(nil, *b.refusal(0), max(openFor/renewals, time.Millisecond))
	return s
}

// shorten asks Jitter by how much, and puts a stay that ends sooner in the place of
// s. Jitter is the user's: it may use the breaker, take its time, or not return. s
// refuses for all of its time until then. The caller does not hold mu.
func (b *Breaker) shorten(s *stay) {
	longest := s.openFor / jitterShare
	by := min(max(b.cfg.Jitter(longest), 0), longest)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.real == s {
		b.enter(b.newOpen(max(time.Until(s.due)-by, 1)), "") // the same state: no change
	}
}

// openTime returns how long to stay open: OpenFor, doubled with each failed
// recovery up to MaxOpenFor.
func (b *Breaker) openTime() time.Duration {
	d := b.cfg.OpenFor
	for range b.streak {
		if d >= b.cfg.MaxOpenFor/2 {
			d = b.cfg.MaxOpenFor
			break
		}
		d *= 2
	}
	return d
}

// close closes the state machine. The caller holds mu.
func (b *Breaker) close() {
	s := b.newClosed()
	if b.cfg.RampFor > 0 {
		s.rampEnd = time.Now().Add(b.cfg.RampFor)
		s.ramping.Store(true)
	} else {
		b.streak = 0
	}
	b.enter(s, CauseProbesSucceeded)
}

func (b *Breaker) newClosed() *stay {
	s := &stay{b: b, state: Closed}
	s.window.Init(b.cfg.Window, b.cfg.MinCalls)
	return s
}

// enter makes s what the state machine says. The caller holds mu.
func (b *Breaker) enter(s *stay, why Cause) {
	if b.real != s {
		for _, l := range b.real.leases {
			l.done = nil // their slots end with their stay
		}
		b.real.ready.Store(nil)
		b.real = s
	}
	if b.mode == Auto {
		b.show(s, why)
	}
}

// show makes s what callers see, and notes a change for whoever is to be told. The
// caller holds mu.
func (b *Breaker) show(s *stay, why Cause) {
	from := b.stay.Swap(s).state
	if from == s.state {
		return
	}
	b.since = time.Now()
	b.totals.entered[s.state].Add(1)
	if b.sum != nil {
		b.sum.entered[s.state].Add(1)
	}
	b.pending = append(b.pending, Change{
		Name: b.cfg.Name, Key: b.key, From: from, To: s.state, Cause: why, At: b.since,
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
func (b *Breaker) unlockAndTellBefore(ctx context.Context, g grant) {
	told := false
	defer func() {
		if l, ok := g.(*lease); ok && !told {
			b.settleProbe(ctx, l, stability.Ignored, false)
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
	c.report(ctx, b.cfg.Logger)
	if b.cfg.OnChange != nil {
		b.cfg.OnChange(c)
	}
	told = true
}
