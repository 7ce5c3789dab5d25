// Package scope keeps apart what a context says of the call of one caller and what it says
// of all that is done for it.
package scope

import "context"

// A Detacher is a value of a context that is about the call of one caller, such as which
// attempt it is.
type Detacher interface {
	// Detached returns what the value is where the call is made for several callers: a
	// value for the same key, or nil for none.
	Detached() any
}

// Value returns the value that ctx has for key where a call is made for several callers,
// of whom ctx is one's.
func Value(ctx context.Context, key any) any {
	v := ctx.Value(key)
	if d, ok := v.(Detacher); ok {
		return d.Detached()
	}
	return v
}
