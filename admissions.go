package stability

import "context"

// Admissions are what several gates granted one call, from the outermost to the innermost. Each
// gets back what it granted exactly once, in the reverse order, whatever panics on the way.
//
// They are for an adapter whose call outlives the function that began it, such as a stream: it
// enters gates one by one, and leaves them when the call has ended, or some of them before that.
// Callers use a [Chain], whose [Gate.Enter] does all of this.
//
// The zero Admissions are ready to use. They must not be copied after the first use, and be
// used by one goroutine at a time.
type Admissions struct {
	n        int // gates not yet left
	err      error
	returned bool // err is what the call returned; else it has not
	passed   [maxPassed]struct {
		ctx       context.Context //nolint:containedctx // Release is told it.
		admission Admission
	}
	more *Admissions // of the gates further in than these; nil: there are none
}

// maxPassed is how many gates fit in Admissions without an allocation.
const maxPassed = 8

// Enter asks a gate to let the call in, and returns the context for what is further in. It
// blocks where the gate does. Where the gate refuses, Enter returns its error; the gates entered
// before are still to be left.
func (a *Admissions) Enter(ctx context.Context, gate Gate) (context.Context, error) {
	admitter, ok := gate.(Admitter)
	if !ok {
		admitter, _ = asAdmitter(gate)
	}
	return a.Admit(ctx, admitter)
}

// Admit is Enter for a gate of which only that is known that it grants an [Admission] by value.
func (a *Admissions) Admit(ctx context.Context, gate Admitter) (context.Context, error) {
	if a.n == maxPassed {
		if a.more == nil {
			a.more = new(Admissions)
		}
		return a.more.Admit(ctx, gate)
	}
	inside, admission, err := gate.Admit(ctx)
	if err != nil {
		return ctx, err
	}
	to := &a.passed[a.n]
	to.ctx, to.admission = inside, admission
	a.n++
	return inside, nil
}

// Len returns how many gates were entered and not yet left.
func (a *Admissions) Len() int {
	if a.more == nil {
		return a.n
	}
	return a.n + a.more.Len()
}

// Answered tells the gates that the dependency has shown that it works, the innermost first, as
// [Pass.Answered] does. It is called at most once. Where a gate panics, the gates further out
// hear of the end of the call only.
func (a *Admissions) Answered() {
	if a.more != nil {
		a.more.Answered()
	}
	for i := a.n - 1; i >= 0; i-- {
		at := &a.passed[i]
		at.admission = at.admission.Answered(at.ctx)
	}
}

// Leave leaves all gates but the first keep of them, the innermost first. The innermost is told
// that the call ended in err, and each other one what the gate inside it made of that; Leave
// returns what the last one made of it. A call that did not return has [ErrNoReturn].
func (a *Admissions) Leave(keep int, err error) error {
	defer a.unwind(keep)
	return a.leave(keep, err)
}

func (a *Admissions) leave(keep int, err error) error {
	a.err, a.returned = err, true
	if a.more != nil {
		a.err = a.more.Leave(max(keep-maxPassed, 0), err)
	}
	for a.n > keep {
		a.n-- // first, so that a gate that panics is not asked again
		from := &a.passed[a.n]
		a.err = from.admission.Done(from.ctx, a.err)
	}
	return a.err
}

// unwind leaves the gates that leave did not come to, because the call or a gate panicked. It
// does nothing after a complete leave.
func (a *Admissions) unwind(keep int) {
	if a.Len() <= keep {
		return
	}
	defer a.unwind(keep)
	err := ErrNoReturn
	if a.returned {
		err = a.err
	}
	_ = a.leave(keep, err)
}

// enterAll enters a chain and returns an admission that gives all of it back.
func (a *Admissions) enterAll(ctx context.Context, c *chain) (context.Context, Admission, error) {
	entered := false
	defer func() {
		if !entered {
			a.unwind(0)
		}
	}()
	ctx, err := a.enterEach(ctx, c.gates)
	if err == nil && c.rest != nil {
		ctx, err = a.Admit(ctx, c.rest)
	}
	if err != nil {
		err = a.leave(0, err)
	}
	entered = true
	return ctx, Admission{Gate: (*chainReleaser)(a)}, err
}

// enterEach enters the gates. When one refuses, the gates entered before are still to be left.
func (a *Admissions) enterEach(ctx context.Context, gates []Admitter) (_ context.Context, err error) {
	for _, g := range gates {
		if ctx, err = a.Admit(ctx, g); err != nil {
			break
		}
	}
	return ctx, err
}

// chainReleaser is the side of Admissions that the admission of a chain comes back to.
type chainReleaser Admissions

// Release implements [Releaser].
func (r *chainReleaser) Release(_ context.Context, _ int64, err error) error {
	return (*Admissions)(r).Leave(0, err)
}

// Answered implements [Answerer].
func (r *chainReleaser) Answered(_ context.Context, n int64) Admission {
	(*Admissions)(r).Answered()
	return Admission{Gate: r, N: n}
}
