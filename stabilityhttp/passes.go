package stabilityhttp

import (
	"context"
	"sync/atomic"

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

// passes are what the gates of a host granted to an attempt.
type passes struct {
	stability.Admissions

	// marks are what gates left in the context that they gave the call, for calls that
	// are made in it. The context of the attempt has them instead, while marked is set.
	marks  [2]mark
	marked atomic.Bool
}

// A mark is the value of a gate in the context of a call, with the gate as its key.
type mark struct{ gate, value any }

// value returns what the gates have for a call with that key.
func (p *passes) value(key any) any {
	if p.marked.Load() {
		for _, m := range p.marks {
			if m.gate != nil && m.gate == key {
				return m.value
			}
		}
	}
	return nil
}

// keep keeps the mark of a gate in ctx.
func (p *passes) keep(ctx context.Context, gate stability.Admitter) {
	for i := range p.marks {
		if m := &p.marks[i]; m.gate == nil {
			m.gate, m.value = gate, ctx.Value(gate)
			return
		}
	}
}

// enter passes the gates. When one refuses, those already passed are still to be left. A
// call that an open breaker would refuse in the end waits for none of the others, and
// takes nothing.
func (p *passes) enter(ctx context.Context, gates [gates]stability.Admitter) error {
	if b, ok := gates[breakerGate].(*breaker.Breaker); ok {
		if err := b.Refused(ctx); err != nil {
			return err
		}
	}
	for _, g := range gates {
		inner, err := p.Admit(ctx, g)
		if err != nil {
			return err
		}
		if inner != ctx {
			p.keep(inner, g)
		}
	}
	p.marked.Store(p.marks[0].gate != nil)
	return nil
}

// leave leaves all but the first keep of the gates, and tells them how the call ended.
func (p *passes) leave(keep int, verdict error) {
	if keep == 0 {
		p.marked.Store(false) // before the gates learn that the call has ended
	}
	_ = p.Leave(keep, verdict)
}
