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
			layers[i] = newChain(c.gates)
		}
	}
	p := layers[len(layers)-1]
	for i := len(layers) - 2; i >= 0; i-- {
		around, _ := layers[i].(arounder)
		p = &stack{outer: layers[i], around: around, inner: p}
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
			for ; p != nil; p = p.rest {
				for _, g := range p.gates {
					flat = append(flat, g.(Policy))
				}
			}
		default:
			flat = append(flat, p)
		}
	}
	return flat
}

// A stack is a policy around another, where at least one of them is no gate.
type stack struct {
	outer  Policy
	around arounder // outer, if it is one
	inner  Policy
}

// An arounder is a policy that takes another one in without a closure for each call:
// Around is Run for a function that calls inner.Run(ctx, fn). It hands fn on as it is
// given, which may be nil. A chain is an arounder, and so is a Retry.
type arounder interface {
	Around(ctx context.Context, inner Policy, fn func(context.Context) error) error
}

func (s *stack) Run(ctx context.Context, fn func(context.Context) error) error {
	if s.around != nil {
		return s.around.Around(ctx, s.inner, fn)
	}
	return s.outer.Run(ctx, func(ctx context.Context) error { return s.inner.Run(ctx, fn) })
}

// A chain is gates one inside another, passed through with Admissions on the stack and
// no closure. Every member is a Policy as well.
type chain struct {
	gates []Admitter // at most maxPassed, together with rest
	rest  *chain     // further in; nil: none
}

// newChain returns a chain of the gates, of which there may be any number.
func newChain(gates []Admitter) *chain {
	c := &chain{gates: gates}
	if len(gates) > maxPassed {
		c.gates, c.rest = gates[:maxPassed-1], newChain(gates[maxPassed-1:])
	}
	return c
}

func (c *chain) Run(ctx context.Context, fn func(context.Context) error) error {
	var f Admissions
	defer f.unwind(0)
	ctx, err := f.enterEach(ctx, c.gates)
	switch {
	case err != nil:
	case c.rest != nil:
		err = c.rest.Run(ctx, fn)
	default:
		err = fn(ctx)
	}
	return f.leave(0, err)
}

func (c *chain) Around(ctx context.Context, inner Policy, fn func(context.Context) error) error {
	var f Admissions
	defer f.unwind(0)
	ctx, err := f.enterEach(ctx, c.gates)
	switch {
	case err != nil:
	case c.rest != nil:
		err = c.rest.Around(ctx, inner, fn)
	default:
		err = inner.Run(ctx, fn)
	}
	return f.leave(0, err)
}

func doChain[T any](ctx context.Context, c *chain, fn func(context.Context) (T, error), v *T) error {
	var f Admissions
	defer f.unwind(0)
	ctx, err := f.enterEach(ctx, c.gates)
	switch {
	case err != nil:
	case c.rest != nil:
		err = doChain(ctx, c.rest, fn, v)
	default:
		*v, err = fn(ctx)
	}
	return f.leave(0, err)
}

func (c *chain) Enter(ctx context.Context) (*Pass, error) {
	p := &struct {
		Pass
		f Admissions
	}{}
	ctx, a, err := p.f.enterAll(ctx, c)
	if err != nil {
		return nil, err
	}
	p.Pass.ctx, p.Pass.admission = ctx, a
	return &p.Pass, nil
}

// Admit lets a chain be a member of another. Unlike a single gate's, it
// allocates: its Admissions have to live somewhere.
func (c *chain) Admit(ctx context.Context) (context.Context, Admission, error) {
	return new(Admissions).enterAll(ctx, c)
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

func (e entered) Admit(ctx context.Context) (context.Context, Admission, error) {
	p, err := e.Enter(ctx)
	if err != nil || p == nil {
		return ctx, Admission{}, err
	}
	return p.Context(), Admission{Gate: (*passReleaser)(p)}, nil
}

type passReleaser Pass

func (p *passReleaser) Answered(_ context.Context, n int64) Admission {
	(*Pass)(p).Answered()
	return Admission{Gate: p, N: n}
}

func (p *passReleaser) Release(_ context.Context, _ int64, err error) error {
	return (*Pass)(p).Done(err)
}
