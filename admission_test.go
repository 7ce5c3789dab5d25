package stability_test

import (
	"context"
	"fmt"
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

// answerer is a gate that notes what it hears.
type answerer struct {
	heard  []string
	during func() // what happens while it hears of the answer
}

func (a *answerer) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	return ctx, stability.Admission{Gate: a, N: 7}, nil
}

func (a *answerer) Enter(ctx context.Context) (*stability.Pass, error) {
	_, admission, _ := a.Admit(ctx)
	return admission.Pass(ctx), nil
}

func (a *answerer) Run(ctx context.Context, fn func(context.Context) error) error {
	return stability.Gates(a).Run(ctx, fn)
}

func (a *answerer) Answered(_ context.Context, n int64) stability.Admission {
	a.heard = append(a.heard, fmt.Sprint("answered ", n))
	if a.during != nil {
		a.during()
	}
	return stability.Admission{Gate: a, N: n + 1}
}

func (a *answerer) Release(_ context.Context, n int64, err error) error {
	a.heard = append(a.heard, fmt.Sprintf("released %d: %v", n, err))
	return err
}

// The gates hear of an answer once, before the end, and of the end once.
//
// Contract: 48
func TestAnswered(t *testing.T) {
	for name, enter := range map[string]func(g *answerer) stability.Gate{
		"a gate":            func(g *answerer) stability.Gate { return g },
		"a chain":           func(g *answerer) stability.Gate { return stability.Gates(&gate{name: "deaf"}, g) },
		"a chain of chains": func(g *answerer) stability.Gate { return stability.Gates(stability.Gates(g)) },
		"a long chain": func(g *answerer) stability.Gate {
			var gs []stability.Gate
			for range 20 {
				gs = append(gs, &gate{name: "deaf"})
			}
			return stability.Gates(append(gs, g)...)
		},
		"a gate that knows Enter only": func(g *answerer) stability.Gate { return foreignGate{g} },
	} {
		t.Run(name, func(t *testing.T) {
			g := &answerer{}
			pass, err := enter(g).Enter(t.Context())
			require.NoError(t, err)
			pass.Answered()
			pass.Answered()
			require.Equal(t, errCall, pass.Done(errCall))
			require.Equal(t, errCall, pass.Done(errCall))
			pass.Answered()
			require.Equal(t, []string{"answered 7", "released 8: " + errCall.Error()}, g.heard)
		})
	}
	(*stability.Pass)(nil).Answered()

	g := &answerer{}
	pass, err := g.Enter(t.Context())
	require.NoError(t, err)
	require.NoError(t, pass.Done(nil))
	pass.Answered()
	require.Equal(t, []string{"released 7: <nil>"}, g.heard, "an answer after the end is none")
}

type foreignGate struct{ g stability.Gate }

func (f foreignGate) Enter(ctx context.Context) (*stability.Pass, error) { return f.g.Enter(ctx) }
func (f foreignGate) Run(ctx context.Context, fn func(context.Context) error) error {
	return f.g.Run(ctx, fn)
}

// A call may end while its gates hear of the answer, and a listener of theirs may panic
// then: each gate is released once all the same.
//
// Contract: 44, 48
func TestEndDuringTheAnswer(t *testing.T) {
	g := &answerer{}
	pass, err := g.Enter(t.Context())
	require.NoError(t, err)
	g.during = func() { require.Equal(t, errCall, pass.Done(errCall)) }
	pass.Answered()
	require.Equal(t, []string{"answered 7", "released 8: " + errCall.Error()}, g.heard)

	g = &answerer{during: func() { panic("listener") }}
	pass, err = stability.Gates(g).Enter(t.Context())
	require.NoError(t, err)
	require.PanicsWithValue(t, "listener", pass.Answered)
	require.NoError(t, pass.Done(nil))
	require.Equal(t, []string{"answered 7", "released 7: <nil>"}, g.heard)

	for range 1000 {
		g := &answerer{}
		pass, err := g.Enter(t.Context())
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(pass.Answered)
		wg.Go(func() { _ = pass.Done(nil) })
		wg.Wait()
		require.Contains(t, [][]string{{"answered 7", "released 8: <nil>"}, {"released 7: <nil>"}}, g.heard)
	}
}
