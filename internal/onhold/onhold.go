// Package onhold tells those who measure how long a call takes, such as a hedge, that it
// waits on the caller's own side: in a queue of this process, for a token, for a
// connection of a pool. Such a wait says nothing of how fast the dependency is.
package onhold

import "context"

// Key is the key of a [Call] among the values of a context.
type Key struct{}

// A Call is what measures one call. Its methods are called in pairs, by any goroutine,
// and perhaps after the call has ended.
type Call interface {
	Wait() // the call begins to wait
	Go()   // and goes on
}

// A Wait is one wait of a call. The zero Wait is none.
type Wait struct{ call Call }

// Begin tells the innermost [Call] that ctx belongs to, if any, that it waits from now on.
// It is for the way on which a caller is about to block.
func Begin(ctx context.Context) Wait {
	call, ok := ctx.Value(Key{}).(Call)
	if !ok {
		return Wait{}
	}
	call.Wait()
	return Wait{call}
}

// End tells that the wait is over. It must be called once.
func (w Wait) End() {
	if w.call != nil {
		w.call.Go()
	}
}
