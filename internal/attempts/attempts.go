// Package attempts is how a context says which attempt of a retry it belongs to. Package
// retry sets the marks and reads them; others can bring the room for one.
package attempts

import "context"

// A Mark is a context that says which attempt it belongs to, and which budget has
// earned by it.
type Mark struct {
	context.Context

	Attempt int  // its number; 0: none
	Budget  any  // a *retry.Budget; nil: none
	Own     bool // a Retry of this process counts the attempts, and makes others
}

type key struct{}

// Value implements [context.Context].
func (m *Mark) Value(k any) any {
	if k == (key{}) {
		return m
	}
	return m.Context.Value(k)
}

// Of returns the innermost mark of ctx, or nil.
func Of(ctx context.Context) *Mark {
	m, _ := ctx.Value(key{}).(*Mark)
	return m
}

// A Room is a context with room for the mark of the first attempt that is made in it, which
// saves an allocation.
type Room struct {
	context.Context

	mark Mark
}

// New returns a mark whose context is ctx, in the room that ctx has for it.
func New(ctx context.Context) *Mark {
	if room, ok := ctx.(*Room); ok && room.mark.Context == nil {
		room.mark.Context = room.Context
		return &room.mark
	}
	return &Mark{Context: ctx}
}

// IsOwn reports whether a Retry of this process made m; nil is none.
func (m *Mark) IsOwn() bool { return m != nil && m.Own }

// Detached returns what is left of the mark where the call of one caller is made for
// several. What came from outside the process is that caller's own affair: another's call
// is retried all the same.
func (m *Mark) Detached() any {
	for ; m != nil; m = Of(m.Context) {
		if m.Own {
			return m
		}
		if m.ends() {
			break
		}
	}
	return nil
}

// Number returns the number of the attempt; that of nil is 0.
func (m *Mark) Number() int {
	if m == nil {
		return 0
	}
	return m.Attempt
}

// Earned reports whether budget has earned by the call that m belongs to.
func (m *Mark) Earned(budget any) bool {
	for ; m != nil; m = Of(m.Context) {
		if m.Budget == budget {
			return true
		}
		if m.ends() {
			return false
		}
	}
	return false
}

// ends reports whether what is made under m are calls of their own: it is that of
// retry.WithAttempt 0.
func (m *Mark) ends() bool { return m.Attempt == 0 && m.Budget == nil }
