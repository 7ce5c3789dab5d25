package stability_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// Every way out of a call gives back once, with what the call ended in.
//
// Contract: 14
func TestAdmissionGivesBackOnce(t *testing.T) {
	tests := map[string]struct {
		fn   func() error
		told error
	}{
		"success": {func() error { return nil }, nil},
		"failure": {func() error { return errCall }, errCall},
		"panic":   {func() error { panic("call") }, stability.ErrNoReturn},
		"Goexit":  {goexit, stability.ErrNoReturn},
	}
	for name, test := range tests {
		call := func(context.Context) error { return test.fn() }
		value := func(context.Context) (int, error) { err := test.fn(); return 3, err }
		doors := map[string]func(g *gate) error{
			"Run": func(g *gate) error { return g.Run(t.Context(), call) },
			"DoAdmitted": func(g *gate) error {
				ctx, a, err := g.Admit(t.Context())
				require.NoError(t, err)
				v, err := stability.DoAdmitted(ctx, a, value)
				require.Equal(t, 3, v)
				return err
			},
			"Do":    func(g *gate) error { _, err := stability.Do(t.Context(), g, value); return err },
			"Chain": func(g *gate) error { return stability.Chain(g).Run(t.Context(), call) },
			"Do of a chain": func(g *gate) error {
				_, err := stability.Do(t.Context(), stability.Chain(g), value)
				return err
			},
		}
		for door, run := range doors {
			t.Run(name+" through "+door, func(t *testing.T) {
				g := &gate{name: "g"}
				err, panicked, exited := onItsOwn(func() error { return run(g) })
				require.EqualValues(t, 1, g.taken.Load())
				require.EqualValues(t, 1, g.given.Load())
				require.Equal(t, test.told, g.told)
				require.Equal(t, name == "Goexit", exited)
				if name == "panic" {
					require.Equal(t, "call", panicked)
				} else {
					require.Nil(t, panicked)
				}
				if name == "failure" {
					require.Equal(t, errCall, err)
				} else {
					require.NoError(t, err)
				}
			})
		}
	}
}

// What the gate makes of the error is what the caller gets.
func TestGateMakesTheError(t *testing.T) {
	made := &stability.Rejection{Policy: "made"}
	g := &gate{name: "g", make: func(error) error { return made }}
	v, err := stability.Do(t.Context(), g, func(context.Context) (int, error) { return 3, nil })
	require.Equal(t, 3, v)
	require.Equal(t, made, err)
	require.Equal(t, made, g.Run(t.Context(), ok))
	pass, err := g.Enter(t.Context())
	require.NoError(t, err)
	require.Equal(t, made, pass.Done(nil))
	require.NoError(t, pass.Done(nil), "another call only returns its err")
}

// An admission with no gate to be told runs the call under its context.
func TestAdmissionWithoutGate(t *testing.T) {
	ctx, a := context.WithValue(t.Context(), ctxKey("k"), 1), stability.Admission{}
	require.Equal(t, errCall, a.Done(ctx, errCall))
	require.Equal(t, errCall, a.Run(ctx, func(ctx context.Context) error {
		require.Equal(t, 1, ctx.Value(ctxKey("k")))
		return errCall
	}))
	v, err := stability.DoAdmitted(ctx, a, func(context.Context) (int, error) { return 3, errCall })
	require.Equal(t, 3, v)
	require.Equal(t, errCall, err)
	require.Equal(t, errCall, a.Pass(ctx).Done(errCall))
}

// The first Done counts, from whichever goroutine.
func TestPassIsDoneOnce(t *testing.T) {
	g := &gate{name: "g", make: func(error) error { return errCall }}
	pass, err := g.Enter(t.Context())
	require.NoError(t, err)
	require.Equal(t, g, pass.Context().Value(ctxKey("g")))
	var first sync.Map
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			if pass.Done(nil) != nil {
				first.Store(n, true)
			}
		})
	}
	wg.Wait()
	firsts := 0
	first.Range(func(any, any) bool { firsts++; return true })
	require.Equal(t, 1, firsts)
	require.EqualValues(t, 1, g.given.Load())
}

// A Done whose gate panics has been done.
func TestPassIsDoneThoughTheGatePanics(t *testing.T) {
	g := &gate{name: "g", make: func(error) error { panic("gate") }}
	pass, err := g.Enter(t.Context())
	require.NoError(t, err)
	require.PanicsWithValue(t, "gate", func() { _ = pass.Done(nil) })
	require.NoError(t, pass.Done(nil))
	require.EqualValues(t, 1, g.given.Load())
}

func TestNilPass(t *testing.T) {
	var pass *stability.Pass
	require.NotNil(t, pass.Context())
	require.Equal(t, errCall, pass.Done(errCall))
	require.NoError(t, pass.Done(nil))
}
