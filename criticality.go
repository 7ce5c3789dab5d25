package stability

import (
	"context"
	"fmt"

	"github.com/crumplezone/stability/internal/text"
)

// A Criticality says how much a call matters when not all calls can be served. A higher one
// is more critical. The zero Criticality is Critical: a call without a label is never the
// first to be refused.
//
// The four levels are those of Site Reliability Engineering (Beyer et al., 2016), chapter 21,
// Handling Overload.
type Criticality int8

// The criticalities.
const (
	// Sheddable calls may fail for minutes at a time: backfills, prefetches.
	Sheddable Criticality = -2
	// SheddablePlus calls are batch work. Somebody waits for it, and can wait longer.
	SheddablePlus Criticality = -1
	// Critical is the default.
	Critical Criticality = 0
	// CriticalPlus calls are the most important ones: a user sees it at once when they fail.
	CriticalPlus Criticality = 1
)

var criticalities = [...]string{"sheddable", "sheddable-plus", "critical", "critical-plus"}

// String returns "sheddable", "sheddable-plus", "critical" or "critical-plus".
func (c Criticality) String() string {
	if c < Sheddable || c > CriticalPlus {
		return fmt.Sprintf("Criticality(%d)", int8(c))
	}
	return criticalities[c-Sheddable]
}

// MarshalText returns the text of String, or an error for a Criticality that is none of the
// four.
func (c Criticality) MarshalText() ([]byte, error) {
	if c < Sheddable || c > CriticalPlus {
		return nil, fmt.Errorf("stability: no such criticality: %d", int8(c))
	}
	return []byte(criticalities[c-Sheddable]), nil
}

// UnmarshalText reads what MarshalText writes. It leaves c as it is and returns an error for
// every other text.
func (c *Criticality) UnmarshalText(name []byte) error {
	for i, is := range criticalities {
		if string(name) == is {
			*c = Sheddable + Criticality(i) //nolint:gosec // At most three.
			return nil
		}
	}
	return fmt.Errorf("stability: no such criticality: %q (sheddable, sheddable-plus, critical or critical-plus)",
		text.Shortened(string(name), text.MaxShown))
}

type (
	criticalityKey struct{}
	callerKey      struct{}
)

// WithCriticality returns a context whose calls have that criticality. Policies that cannot
// serve all calls refuse the less critical ones first, and adapters send it on to what they
// call. A value outside of Sheddable to CriticalPlus counts as the nearest of them.
func WithCriticality(ctx context.Context, c Criticality) context.Context {
	return context.WithValue(ctx, criticalityKey{}, min(max(c, Sheddable), CriticalPlus))
}

// CriticalityOf returns the criticality of the calls in ctx: that of the last WithCriticality,
// or Critical. It allocates nothing.
func CriticalityOf(ctx context.Context) Criticality {
	c, _ := ctx.Value(criticalityKey{}).(Criticality)
	return c
}

// WithCaller returns a context whose calls are made on behalf of caller: a tenant, a user, a
// session. Policies that are fair go by it. It may be personal data, and adapters send it on
// only where they are told to.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns the caller of the last WithCaller, or "". It allocates nothing.
func CallerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}
