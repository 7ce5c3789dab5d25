package breaker

import (
	"context"
	"sync/atomic"

	"github.com/crumplezone/stability"
)

// A call may be made in the course of another one of the same breaker: a driver shakes
// hands through the hook that it was called by, a client refreshes its token with a
// guarded call, a chain has the breaker twice. If the outer call is a probe, the inner
// one passes as part of it, or the probe would fail for want of its own slot. During a
// ramp, the share that is admitted is one of outer calls.

// A marked is what a probe, or a call admitted during a ramp, leaves in its context for
// the calls that are made in it. It is worth something until its call has ended.
type marked struct {
	stability.Releaser // the lease or the stay

	stay *stay
	over atomic.Bool
}

// Release implements [stability.Releaser].
func (m *marked) Release(ctx context.Context, n int64, err error) error {
	m.over.Store(true)
	return m.Releaser.Release(ctx, n, err)
}

// Answered implements [stability.Answerer].
func (m *marked) Answered(ctx context.Context, n int64) stability.Admission {
	a := stability.Admission{Gate: m.Releaser, N: n}.Answered(ctx)
	m.Releaser = a.Gate
	return stability.Admission{Gate: m, N: a.N}
}

// madeIn returns the call in whose context ctx is, or nil.
func (b *Breaker) madeIn(ctx context.Context) *marked {
	if b.stay.Load().state == Open {
		return nil // that of the outer call has ended
	}
	m, _ := ctx.Value(b).(*marked)
	return m
}

// bystander is a Breaker that only counts a call: one that a probe makes, or one that it
// let through although it would have refused it.
type bystander Breaker

// Release implements [stability.Releaser].
func (s *bystander) Release(ctx context.Context, began int64, err error) error {
	return (*Breaker)(s).release(ctx, s, began, err)
}

// Answered implements [stability.Answerer].
func (s *bystander) Answered(_ context.Context, began int64) stability.Admission {
	return stability.Admission{Gate: s, N: began}
}

func (s *bystander) settle(context.Context, stability.Outcome, bool, error) {}
