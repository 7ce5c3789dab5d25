package bench

import (
	"context"
	"sync/atomic"
	"time"
)

// plain is the call without anything around it.
func plain() Candidate {
	return Candidate{Name: "the bare call", Kind: Primitive, How: "`fn(ctx)` through a function value.", Setup: func() Work {
		ctx, fn := context.Background(), indirect(ok)
		return each(func(_, n int) {
			for range n {
				_ = fn(ctx)
			}
		})
	}}
}

// indirect keeps the compiler from seeing which function it is.
//
//go:noinline
func indirect(fn func(context.Context) error) func(context.Context) error { return fn }

// add is an atomic addition to a word that all goroutines share.
func add() Candidate {
	return Candidate{Name: "atomic add", Kind: Primitive, How: "`atomic.Int64.Add(1)` on one word for all goroutines.", Setup: func() Work {
		var word atomic.Int64
		return each(func(_, n int) {
			for range n {
				word.Add(1)
			}
		})
	}}
}

// clock is a reading of the clock.
func clock() Candidate {
	return Candidate{Name: "clock read", Kind: Primitive, How: "`time.Now()`.", Setup: func() Work {
		return each(func(_, n int) {
			for range n {
				_ = time.Now()
			}
		})
	}}
}
