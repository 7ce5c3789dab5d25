package stability_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/crumplezone/stability"
)

var errCall = errors.New("the call's own error")

type ctxKey string

// A log is what the gates of a test did, in order.
type log []string

// A gate notes what it is asked and told, and fails as it is set to.
type gate struct {
	name  string
	log   *log
	admit func() error      // nil: lets the call in
	make  func(error) error // of the call's error; nil: the same

	taken, given atomic.Int64
	told         error
}

func (g *gate) note(what string) {
	if g.log != nil {
		*g.log = append(*g.log, what+" "+g.name)
	}
}

func (g *gate) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if g.admit != nil {
		if err := g.admit(); err != nil {
			return ctx, stability.Admission{}, err
		}
	}
	g.taken.Add(1)
	g.note("enter")
	return context.WithValue(ctx, ctxKey(g.name), g), stability.Admission{Gate: g, N: 7}, nil
}

func (g *gate) Release(ctx context.Context, n int64, err error) error {
	if n != 7 || ctx.Value(ctxKey(g.name)) != g {
		panic("another's admission")
	}
	g.given.Add(1)
	g.told = err
	g.note("leave")
	if g.make != nil {
		return g.make(err)
	}
	return err
}

func (g *gate) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := g.Admit(ctx)
	if err != nil {
		return nil, err
	}
	return a.Pass(ctx), nil
}

func (g *gate) Run(ctx context.Context, fn func(context.Context) error) error {
	ctx, a, err := g.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, fn)
}

// foreign is a gate of another module, which knows only Run and Enter.
type foreign struct{ g *gate }

func (f foreign) Enter(ctx context.Context) (*stability.Pass, error) { return f.g.Enter(ctx) }
func (f foreign) Run(ctx context.Context, fn func(context.Context) error) error {
	return f.g.Run(ctx, fn)
}

// plain is a policy that is no gate.
type plain struct{ g *gate }

func (p plain) Run(ctx context.Context, fn func(context.Context) error) error {
	return p.g.Run(ctx, fn)
}

// around is a policy that takes another one in without a closure.
type around struct{ plain }

func (a around) Around(ctx context.Context, inner stability.Policy, fn func(context.Context) error) error {
	return a.Run(ctx, func(ctx context.Context) error { return inner.Run(ctx, fn) })
}

// open is a gate that lets everything in and has nothing to be told.
type open struct{}

func (open) Enter(context.Context) (*stability.Pass, error) { return nil, nil }
func (open) Run(ctx context.Context, fn func(context.Context) error) error {
	return fn(ctx)
}

func ok(context.Context) error { return nil }

// onItsOwn runs f on a goroutine of its own and tells how it ended.
func onItsOwn(f func() error) (err error, panicked any, exited bool) { //nolint:revive,staticcheck // The error is one ending of three.
	ended := make(chan struct{})
	exited = true
	go func() {
		defer close(ended)
		defer func() {
			if panicked = recover(); panicked != nil {
				exited = false
			}
		}()
		err = f()
		exited = false
	}()
	<-ended
	return err, panicked, exited
}

func goexit() error { runtime.Goexit(); return nil }
