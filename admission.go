package stability

import (
	"context"
	"errors"
	"sync"
)

// ErrNoReturn is what a gate is told in place of the call's error when the call
// did not return: it panicked, or it ended its goroutine with runtime.Goexit.
// No caller gets it from Run: the panic passes through.
var ErrNoReturn = errors.New("stability: call did not return")

// An Admission is what one gate granted to one call: whom to tell, once, how it
// ended.
//
// It is the mechanism under Run and Enter of every gate, for those who write a
// gate of their own. Callers use Run, or Enter and its [Pass]. An Admission is a
// plain value so that granting one costs no allocation, and small enough to be
// passed in registers; it must be used up exactly once, by Run, Done, Pass or
// [DoAdmitted], with the context that Admit returned beside it.
type Admission struct {
	// Gate is told how the call ended. nil: nothing is to be given back.
	Gate Releaser
	// N is the gate's own and comes back to it unseen.
	N int64
}

// A Releaser takes back what an [Admission] granted. It may be the gate itself, or
// something that the gate has for this call.
type Releaser interface {
	// Release is called exactly once for an admission, by any goroutine, with the
	// context that the call ran under, the N of the admission, and the error that the
	// call ended in or [ErrNoReturn]. It gives back what was taken before it calls any
	// function of the user's, and returns err or what the gate makes of it.
	Release(ctx context.Context, n int64, err error) error
}

// An Admitter is a gate that grants an [Admission] by value. All gates of this
// module are Admitters; chains and [Do] use it to pass through any number of
// gates without an allocation. They do so for a type that embeds a gate, too: one
// that overrides Run or Enter overrides Admit as well, or it is passed by.
type Admitter interface {
	// Admit grants an admission and returns the context that the call runs under, or
	// returns a [Rejection], or ctx.Err() when ctx has ended before.
	Admit(ctx context.Context) (context.Context, Admission, error)
}

// Done tells the gate how the call ended and returns err, or what the gate makes
// of it.
func (a Admission) Done(ctx context.Context, err error) error {
	if a.Gate == nil {
		return err
	}
	return a.Gate.Release(ctx, a.N, err)
}

// Run calls fn under the admission and tells the gate how it ended, on every way
// out.
func (a Admission) Run(ctx context.Context, fn func(context.Context) error) error {
	if a.Gate == nil {
		return fn(ctx)
	}
	// A panic is not recovered here: it goes on by itself, with its value and its
	// stack, and a Goexit goes on as one.
	returned := false
	defer func() {
		if !returned {
			_ = a.Gate.Release(ctx, a.N, ErrNoReturn)
		}
	}()
	err := fn(ctx)
	returned = true
	return a.Gate.Release(ctx, a.N, err)
}

// DoAdmitted is a.Run for a function that returns a value.
func DoAdmitted[T any](ctx context.Context, a Admission, fn func(context.Context) (T, error)) (T, error) {
	if a.Gate == nil {
		return fn(ctx)
	}
	returned := false
	defer func() {
		if !returned {
			_ = a.Gate.Release(ctx, a.N, ErrNoReturn)
		}
	}()
	v, err := fn(ctx)
	returned = true
	return v, a.Gate.Release(ctx, a.N, err)
}

// Answered tells the gate that the dependency has shown that it works, before the call
// has ended, and returns the admission to end the call with in place of a. What was taken
// stays taken until then. A gate that is no [Answerer] learns nothing from it.
func (a Admission) Answered(ctx context.Context) Admission {
	if gate, ok := a.Gate.(Answerer); ok {
		return gate.Answered(ctx, a.N)
	}
	return a
}

// An Answerer is a [Releaser] that judges a dependency by its first sign of life: the
// headers of a response, the first message of a stream, the first row. A breaker is one.
type Answerer interface {
	Releaser
	// Answered counts a success, and returns the admission that the call is ended
	// with. That one counts a failure in place of it if the call fails after all, and
	// nothing besides if it succeeds. Answered is called at most once for an admission, and
	// before its Release.
	Answered(ctx context.Context, n int64) Admission
}

// Pass turns the admission into a [Pass].
func (a Admission) Pass(ctx context.Context) *Pass { return &Pass{ctx: ctx, admission: a} }

// A Pass is a call that a [Gate] let in and that outlives the function which
// entered. What the gate took for it (a permit, a probe slot) stays taken until
// Done.
//
// Its methods may be called by any goroutine.
type Pass struct {
	ctx context.Context //nolint:containedctx // It is what Context returns.

	mu        sync.Mutex
	admission Admission
	answered  bool  // Answered was called
	answering bool  // and has not returned
	done      bool  // Done was called
	late      error // what with, where the gates still hear of the answer
}

// Context returns the context that the call runs under. It stays alive until
// Done, for as long as the gates and the caller of Enter let it.
func (p *Pass) Context() context.Context {
	if p == nil {
		return context.Background()
	}
	return p.ctx
}

// Answered tells the gates that the dependency has shown that it works: the headers of
// a response have come, the first message of a stream, the first row. A breaker counts
// the success then, and a failure in place of it if Done is told of one later. A breaker that
// probes closes, however long the answer is; and the time after Answered makes no call
// slow. Where Answered is not called, Done alone decides.
//
// The first call counts; another, or one after Done or on a nil Pass, does nothing.
func (p *Pass) Answered() {
	if p == nil {
		return
	}
	p.mu.Lock()
	if p.answered || p.done {
		p.mu.Unlock()
		return
	}
	p.answered, p.answering = true, true
	a := p.admission
	p.mu.Unlock()
	defer func() { // also where a listener of the gates panics
		p.mu.Lock()
		p.admission, p.answering = a, false
		done, late := p.done, p.late
		p.mu.Unlock()
		if done {
			_ = a.Done(p.ctx, late)
		}
	}()
	a = a.Answered(p.ctx)
}

// Done tells the gates how the call ended, gives back what they took, and returns
// err or what they make of it: a timeout says whose deadline it was. The first
// call counts; another, or one on a nil Pass, only returns err. So does one while
// Answered runs, which then tells the gates as it returns.
func (p *Pass) Done(err error) error {
	if p == nil {
		return err
	}
	p.mu.Lock()
	if p.done || p.answering {
		if !p.done {
			p.done, p.late = true, err
		}
		p.mu.Unlock()
		return err
	}
	p.done = true
	a := p.admission
	p.mu.Unlock()
	return a.Done(p.ctx, err)
}
