// Package policytest is the contract that every policy keeps, as tests that a
// policy's own package runs.
package policytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// A Policy is a policy under test.
type Policy struct {
	// New returns a fresh policy that lets every call of the suite through: no
	// refusals, no time limits shorter than a minute, however many fail.
	New func() stability.Policy
	// Nil is the nil pointer of the policy's type.
	Nil stability.Policy
	// Calls returns the policy's counts.
	Calls func(stability.Policy) stability.Calls
	// AtRest fails the test when anything that a call took is not given back.
	AtRest func(t testing.TB, p stability.Policy)
	// Judged returns a policy like New's that judges with the given Classifier.
	Judged func(stability.Classifier) stability.Policy
	// Allocates is for a policy whose Run has to allocate: the contract then asks
	// for at most so many allocations.
	Allocates float64
}

type key struct{}

var errCall = errors.New("the call's own error")

// Run runs the contract of a policy, and that of a gate where it is one.
func (c Policy) Run(t *testing.T) {
	t.Run("nil runs unguarded", c.nilRuns)
	t.Run("context values pass", c.valuesPass)
	t.Run("an ended context starts nothing", c.endedContext)
	t.Run("the call's error comes back", c.errorComesBack)
	t.Run("panic passes and gives back", c.panics)
	t.Run("Goexit passes and gives back", c.goexit)
	t.Run("on the caller's goroutine and never after", c.onCallersGoroutine)
	t.Run("each call counted once", c.countedOnce)
	t.Run("any mixture gives everything back", c.mixture)
	t.Run("Run allocates nothing", c.allocations)
	t.Run("across bubbles", c.acrossBubbles)
	if c.Judged != nil {
		t.Run("a Classifier that panics costs nothing", c.classifierPanics)
	}
	if _, ok := c.New().(stability.Gate); ok {
		t.Run("a pass counts once", c.passCountsOnce)
		t.Run("a pass outlives its function", c.passOutlives)
		t.Run("nil enters", c.nilEnters)
		t.Run("a refusal further in gives back", c.refusedFurtherIn)
	}
}

func (c Policy) nilRuns(t *testing.T) {
	ran := false
	err := c.Nil.Run(t.Context(), func(context.Context) error { ran = true; return errCall })
	require.ErrorIs(t, err, errCall)
	require.True(t, ran)
}

func (c Policy) valuesPass(t *testing.T) {
	p := c.New()
	ctx := context.WithValue(t.Context(), key{}, "v")
	require.NoError(t, p.Run(ctx, func(ctx context.Context) error {
		require.Equal(t, "v", ctx.Value(key{}))
		return nil
	}))
	c.AtRest(t, p)
}

func (c Policy) endedContext(t *testing.T) {
	p := c.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Run(ctx, func(context.Context) error { t.Error("the call ran"); return nil })
	require.ErrorIs(t, err, context.Canceled)
	if g, ok := p.(stability.Gate); ok {
		_, err := g.Enter(ctx)
		require.ErrorIs(t, err, context.Canceled)
	}
	c.AtRest(t, p)
}

func (c Policy) errorComesBack(t *testing.T) {
	p := c.New()
	require.ErrorIs(t, p.Run(t.Context(), func(context.Context) error { return errCall }), errCall)
	c.AtRest(t, p)
}

func (c Policy) panics(t *testing.T) {
	p := c.New()
	value := &struct{ int }{7}
	func() {
		defer func() { require.Same(t, value, recover(), "the panic's value") }()
		_ = p.Run(t.Context(), func(context.Context) error { panic(value) })
	}()
	c.AtRest(t, p)
	require.EqualValues(t, 1, c.Calls(p).Failed, "a panic is a failure")
	require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
}

func (c Policy) classifierPanics(t *testing.T) {
	p := c.Judged(func(context.Context, error) stability.Outcome { panic("classifier") })
	require.PanicsWithValue(t, "classifier", func() {
		_ = p.Run(t.Context(), func(context.Context) error { return errCall })
	})
	c.AtRest(t, p)
	require.Equal(t, stability.Calls{Failed: 1}, c.Calls(p), "what nobody could judge has failed")
}

func (c Policy) goexit(t *testing.T) {
	p := c.New()
	after := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(context.Background(), func(context.Context) error { runtime.Goexit(); return nil })
		after = true
	}()
	<-done
	require.False(t, after, "a Goexit ends the goroutine")
	c.AtRest(t, p)
	require.EqualValues(t, 1, c.Calls(p).Failed)
}

func (c Policy) onCallersGoroutine(t *testing.T) {
	p := c.New()
	var running, returned atomic.Bool
	ok := func() (ok bool) {
		defer func() { ok = recover() != nil }() // a panic is caught only on its own goroutine
		_ = p.Run(t.Context(), func(context.Context) error {
			require.False(t, running.Swap(true), "two at a time")
			defer running.Store(false)
			require.False(t, returned.Load(), "ran after Run returned")
			panic("here")
		})
		return false
	}()
	returned.Store(true)
	require.True(t, ok)
	require.False(t, running.Load())
}

func (c Policy) countedOnce(t *testing.T) {
	p := c.New()
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
	require.Error(t, p.Run(t.Context(), func(context.Context) error { return errCall }))
	require.Error(t, p.Run(ctx, func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }))
	require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1, Ignored: 1}, c.Calls(p))
}

func (c Policy) mixture(t *testing.T) {
	p := c.New()
	const goroutines, each = 16, 200
	var started atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				done := make(chan struct{})
				go func() { // a Goexit ends it
					defer close(done)
					defer func() { _ = recover() }()
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					_ = p.Run(ctx, func(context.Context) error {
						started.Add(1)
						switch rand.IntN(5) {
						case 0:
							return errCall
						case 1:
							panic(errCall)
						case 2:
							runtime.Goexit()
						case 3:
							cancel()
							return ctx.Err()
						}
						return nil
					})
				}()
				<-done
			}
		})
	}
	wg.Wait()
	c.AtRest(t, p)
	calls := c.Calls(p)
	require.Equal(t, started.Load(), calls.Started(), "started = succeeded + failed + ignored: %+v", calls)
}

func (c Policy) allocations(t *testing.T) {
	p := c.New()
	ctx := context.WithValue(t.Context(), key{}, "v")
	ok := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errCall }
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = p.Run(ctx, ok) }), c.Allocates, "a success")
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = p.Run(ctx, fails) }), c.Allocates, "a failure")
	value := func(context.Context) (int, error) { return 7, nil }
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = stability.Do(ctx, p, value) }), c.Allocates, "stability.Do")
}

func (c Policy) acrossBubbles(t *testing.T) {
	use := func(t testing.TB, p stability.Policy) {
		before := c.Calls(p)
		for range 3 {
			require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
			require.ErrorIs(t, p.Run(t.Context(), func(context.Context) error { return errCall }), errCall)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.Error(t, p.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
			cancel()
			if g, ok := p.(stability.Gate); ok {
				pass, err := g.Enter(t.Context())
				require.NoError(t, err)
				<-time.After(time.Millisecond)
				require.NoError(t, pass.Done(nil))
			}
		}
		c.AtRest(t, p)
		require.Greater(t, c.Calls(p).Started(), before.Started()+8)
	}
	AcrossBubbles(t, func(t testing.TB) stability.Policy {
		p := c.New()
		use(t, p)
		return p
	}, use)
}

func (c Policy) passCountsOnce(t *testing.T) {
	p := c.New()
	pass, err := p.(stability.Gate).Enter(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, pass.Done(errCall), errCall)
	require.NoError(t, pass.Done(nil))
	require.Equal(t, errCall, pass.Done(errCall))
	c.AtRest(t, p)
	require.Equal(t, stability.Calls{Failed: 1}, c.Calls(p))
}

func (c Policy) passOutlives(t *testing.T) {
	p := c.New()
	enter := func() *stability.Pass {
		pass, err := p.(stability.Gate).Enter(context.WithValue(t.Context(), key{}, "v"))
		require.NoError(t, err)
		return pass
	}
	pass := enter()
	require.Equal(t, "v", pass.Context().Value(key{}))
	require.NoError(t, pass.Context().Err())
	results := make(chan error)
	go func() { results <- pass.Done(nil) }()
	require.NoError(t, <-results)
	c.AtRest(t, p)
	require.Equal(t, stability.Calls{Succeeded: 1}, c.Calls(p))
}

func (c Policy) nilEnters(t *testing.T) {
	pass, err := c.Nil.(stability.Gate).Enter(context.WithValue(t.Context(), key{}, "v"))
	require.NoError(t, err)
	require.Equal(t, "v", pass.Context().Value(key{}))
	require.Equal(t, errCall, pass.Done(errCall))
	var none *stability.Pass
	require.Equal(t, errCall, none.Done(errCall))
}

func (c Policy) refusedFurtherIn(t *testing.T) {
	p := c.New()
	err := stability.Chain(p, refuser{}).Run(t.Context(), func(context.Context) error { t.Error("ran"); return nil })
	require.ErrorIs(t, err, stability.ErrRejected)
	c.AtRest(t, p)
	require.Equal(t, stability.Calls{Ignored: 1}, c.Calls(p))
}

// refuser is a gate that refuses everything.
type refuser struct{}

func (refuser) Enter(context.Context) (*stability.Pass, error) {
	return nil, &stability.Rejection{Policy: "refuser"}
}

func (r refuser) Run(ctx context.Context, _ func(context.Context) error) error {
	_, err := r.Enter(ctx)
	return err
}
