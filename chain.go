package stability

import "context"

// Chain puts policies one inside another, the first outermost. nil entries are
// skipped; a chain of none calls fn unguarded.
//
// A chain of gates is itself a [Gate]. Chain puts no order on anyone; the usual
// one is, from the outside in: total timeout, retry, rate limit, bulkhead,
// breaker, attempt timeout.
func Chain(ps ...Policy) Policy {
	var layers []Policy // no two gate chains in a row, no *stack
	for _, p := range flatten(ps) {
		g, isGate := asAdmitter(p)
		if !isGate {
			layers = append(layers, p)
			continue
		}
		if n := len(layers); n > 0 {
			if c, ok := layers[n-1].(*chain); ok {
				c.gates = append(c.gates, g)
				continue
			}
		}
		layers = append(layers, &chain{gates: []Admitter{g}})
	}
	if len(layers) == 0 {
		return &chain{}
	}
	for i, p := range layers {
		if c, ok := p.(*chain); ok {
			layers[i] = c.fold()
		}
	}
	p := layers[len(layers)-1]
	for i := len(layers) - 2; i >= 0; i-- {
		p = &stack{outer: layers[i], inner: p}
	}
	return p
}

// Gates is [Chain] for gates: a chain of gates is a gate.
func Gates(gs ...Gate) Gate {
	ps := make([]Policy, len(gs))
	for i, g := range gs {
		if g != nil { // else a non-nil Policy that holds a nil Gate
			ps[i] = g
		}
	}
	return Chain(ps...).(*chain)
}

// flatten takes chains apart into their members, so that chains of chains cost
// what one chain does.
func flatten(ps []Policy) []Policy {
	var flat []Policy
	for _, p := range ps {
		switch p := p.(type) {
		case nil:
		case *stack:
			flat = append(flat, flatten([]Policy{p.outer, p.inner})...)
		case *chain:
			for _, g := range p.gates {
				flat = append(flat, flatten([]Policy{g.(Policy)})...)
			}
		default:
			flat = append(flat, p)
		}
	}
	return flat
}

// A stack is a policy around another, where at least one of them is no gate.
type stack struct{ outer, inner Policy }

func (s *stack) Run(ctx context.Context, fn func(context.Context) error) error {
	return s.outer.Run(ctx, func(ctx context.Context) error { return s.inner.Run(ctx, fn) })
}

// frameSize is how many admissions a frame has room for. A longer chain of gates
// nests a second one at its end.
const frameSize = 8

// A chain is gates one inside another, passed through with one frame and no
// closure. Every member is a Policy as well.
type chain struct{ gates []Admitter }

// fold moves the gates past frameSize into chains nested at the end.
func (c *chain) fold() *chain {
	if len(c.gates) <= frameSize {
		return c
	}
	inner := &chain{gates: c.gates[frameSize-1:]}
	head := append([]Admitter(nil), c.gates[:frameSize-1]...)
	return &chain{gates: append(head, inner.fold())}
}

func (c *chain) Run(ctx context.Context, fn func(context.Context) error) error {
	var f frame
	defer f.unwind()
	ctx, err := f.enter(ctx, c.gates)
	if err == nil {
		err = fn(ctx)
	}
	return f.leave(err)
}

func doChain[T any](ctx context.Context, c *chain, fn func(context.Context) (T, error)) (v T, err error) {
	var f frame
	defer f.unwind()
	ctx, err = f.enter(ctx, c.gates)
	if err == nil {
		v, err = fn(ctx)
	}
	return v, f.leave(err)
}

func (c *chain) Enter(ctx context.Context) (*Pass, error) {
	p := &struct {
		Pass
		f frame
	}{}
	a, err := p.f.admit(ctx, c.gates)
	if err != nil {
		return nil, err
	}
	p.admission = a
	return &p.Pass, nil
}

// Admit lets a chain be a member of another. Unlike a single gate's, it
// allocates: its frame has to live somewhere.
func (c *chain) Admit(ctx context.Context) (Admission, error) {
	return new(frame).admit(ctx, c.gates)
}

// A frame holds what the gates of a chain granted one call, from the outermost to
// the innermost, and gives it back in the reverse order: each gate exactly once,
// whatever panics on the way.
type frame struct {
	n          int // admissions not yet given back
	err        error
	returned   bool // err is what the call returned; else it has not
	admissions [frameSize]Admission
}

// admit enters the gates and returns an admission that gives all of theirs back.
func (f *frame) admit(ctx context.Context, gates []Admitter) (Admission, error) {
	entered := false
	defer func() {
		if !entered {
			f.unwind()
		}
	}()
	ctx, err := f.enter(ctx, gates)
	if err != nil {
		err = f.leave(err)
	}
	entered = true
	return Admission{Ctx: ctx, Gate: f}, err
}

// Release gives back what the gates of a chain granted.
func (f *frame) Release(_ Admission, err error) error {
	defer f.unwind()
	return f.leave(err)
}

// enter passes the gates. When one refuses, those already passed are still to be
// left.
func (f *frame) enter(ctx context.Context, gates []Admitter) (context.Context, error) {
	for _, g := range gates {
		a, err := g.Admit(ctx)
		if err != nil {
			return ctx, err
		}
		// Field by field: copied as a whole, the admission would be read in larger
		// words than it has just been written in, which stalls the processor.
		to := &f.admissions[f.n]
		to.Ctx, to.Gate, to.Ref, to.N = a.Ctx, a.Gate, a.Ref, a.N
		f.n++
		ctx = a.Ctx
	}
	return ctx, nil
}

// leave gives back, innermost first, and hands each gate what the one inside it
// made of err.
func (f *frame) leave(err error) error {
	f.err, f.returned = err, true
	for f.n > 0 {
		f.n-- // first, so that a gate that panics is not asked again
		if a := &f.admissions[f.n]; a.Gate != nil {
			f.err = a.Gate.Release(*a, f.err)
		}
	}
	return f.err
}

// unwind gives back what leave did not come to, because the call or a gate
// panicked. It does nothing after a complete leave.
func (f *frame) unwind() {
	if f.n == 0 {
		return
	}
	defer f.unwind()
	err := ErrNoReturn
	if f.returned {
		err = f.err
	}
	_ = f.leave(err)
}

// asAdmitter returns the gate's own Admit, or one made of its Enter.
func asAdmitter(p Policy) (Admitter, bool) {
	if a, ok := p.(Admitter); ok {
		return a, true
	}
	if g, ok := p.(Gate); ok {
		return entered{g}, true
	}
	return nil, false
}

// entered is a gate that knows only Enter.
type entered struct{ Gate }

func (e entered) Admit(ctx context.Context) (Admission, error) {
	p, err := e.Enter(ctx)
	if err != nil {
		return Admission{}, err
	}
	if p == nil {
		return Admission{Ctx: ctx}, nil
	}
	return Admission{Ctx: p.Context(), Gate: (*passReleaser)(p)}, nil
}

type passReleaser Pass

func (p *passReleaser) Release(_ Admission, err error) error { return (*Pass)(p).Done(err) }
