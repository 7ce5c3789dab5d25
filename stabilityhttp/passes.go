package stabilityhttp

import (
	"context"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// The gates of a host, in the order in which a call passes them.
const (
	quotaGate = iota
	rateLimitGate
	bulkheadGate
	breakerGate
	gates
)

// passes are what the gates of a host granted to an attempt. What was taken is
// given back exactly once, whatever panics on the way.
type passes struct {
	n    int // gates passed and not yet left
	held [gates]stability.Admission
}

// enter passes the gates, none of which gives a call another context than it came
// with. When one refuses, those already passed are still to be left. A call that an open
// breaker would refuse in the end waits for none of the others, and takes nothing.
func (p *passes) enter(ctx context.Context, gates [gates]stability.Admitter) error {
	if b, ok := gates[breakerGate].(*breaker.Breaker); ok {
		if err := b.Refused(ctx); err != nil {
			return err
		}
	}
	for _, g := range gates {
		_, a, err := g.Admit(ctx)
		if err != nil {
			return err
		}
		p.held[p.n] = a
		p.n++
	}
	return nil
}

// answered tells the gates that the host has shown that it works.
func (p *passes) answered(ctx context.Context) {
	for i := range p.held[:p.n] {
		p.held[i] = p.held[i].Answered(ctx)
	}
}

// leave gives back all but the first keep of the gates, innermost first, and tells
// them how the call in ctx ended.
func (p *passes) leave(ctx context.Context, keep int, verdict error) {
	defer func() {
		if p.n > keep { // a gate panicked, on behalf of a user's function
			p.leave(ctx, keep, verdict)
		}
	}()
	for p.n > keep {
		p.n--
		_ = p.held[p.n].Done(ctx, verdict)
	}
}
