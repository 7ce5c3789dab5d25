package bench

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"

	"github.com/crumplezone/stability/timeout"
)

const withTimeoutName = "context.WithTimeout"

// timeoutInTime is a call that ends in time and does not look at its context.
func timeoutInTime(name string, canEnd bool) Row {
	parent := func() (context.Context, context.CancelFunc) {
		if canEnd {
			return context.WithCancel(context.Background())
		}
		return context.Background(), func() {}
	}
	around := func(run func(ctx context.Context) error) Work {
		ctx, cancel := parent()
		granted(run(ctx))
		return Work{Do: func(_, n int) {
			for range n {
				_ = run(ctx)
			}
		}, Close: cancel}
	}
	return Row{
		Name:  name,
		Note:  "A minute, which is never reached; the call does not ask for `Done`.",
		Goals: []Goal{{Name: name, Against: withTimeoutName, Serial: 1. / 3, All: 1. / 3}},
		Candidates: []Candidate{
			{Name: "stability", How: "`Run`.", Setup: func() Work {
				t := timeout.New(timeout.Config{After: time.Minute})
				return around(func(ctx context.Context) error { return t.Run(ctx, ok) })
			}},
			{Name: withTimeoutName, Kind: Primitive, How: "The call under it, and `cancel` deferred.", Setup: func() Work {
				return around(func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					return ok(ctx)
				})
			}},
			{Name: "failsafe-go", Kind: Peer, How: "`Executor.WithContext(ctx).RunWithExecution`, which is how a call gets a context that ends.", Setup: func() Work {
				executor := failsafe.With[any](failsafetimeout.New[any](time.Minute))
				fn := func(e failsafe.Execution[any]) error { return ok(e.Context()) }
				return around(func(ctx context.Context) error { return executor.WithContext(ctx).RunWithExecution(fn) })
			}},
			clock(),
		},
	}
}
