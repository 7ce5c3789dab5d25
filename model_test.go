package stability_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
)

// The faults of a gate or of the call.
const (
	none = iota
	refuses
	panics
	exits
)

// A stack of any gates and policies under any faults: what let the call in is given
// back once, the innermost first; the caller gets the panic or the Goexit where there
// was one; and each gate is told what the one inside it made of the error, or that
// the call did not return.
//
// Contract: 44
func TestModel(t *testing.T) { rapid.Check(t, checkModel) }

func FuzzModel(f *testing.F) {
	f.Add([]byte("some gates, a call, and what goes wrong"))
	f.Fuzz(rapid.MakeFuzz(checkModel))
}

func checkModel(rt *rapid.T) {
	n := rapid.IntRange(0, 20).Draw(rt, "gates")
	all, l := gates(n)
	ps := make([]stability.Policy, n)
	asked, told := make([]int, n), make([]int, n)
	made := make([]error, n)
	// Most gates do their work: else few calls would get far.
	fault := rapid.SampledFrom([]int{none, none, none, none, none, none, none, none, none, refuses, panics, exits})
	fail := func(fault int, what string) error {
		switch fault {
		case refuses:
			return &stability.Rejection{Policy: what}
		case panics:
			panic(what)
		case exits:
			return goexit()
		}
		return nil
	}
	for i, g := range all {
		asked[i] = fault.Draw(rt, "when asked")
		told[i] = fault.Draw(rt, "when told")
		g.admit = func() error { return fail(asked[i], "asked "+g.name) }
		if told[i] == refuses {
			made[i] = fmt.Errorf("made by %s", g.name)
		}
		g.make = func(err error) error {
			if made[i] != nil {
				return made[i]
			}
			_ = fail(told[i], "told "+g.name)
			return err
		}
		ps[i] = rapid.SampledFrom([]stability.Policy{g, g, g, foreign{g}, plain{g}}).Draw(rt, "kind")
	}
	if n > 1 && rapid.Bool().Draw(rt, "nested") {
		at := rapid.IntRange(0, n-1).Draw(rt, "at")
		ps = append(slices.Clip(ps[:at]), stability.Chain(ps[at:]...))
	}
	call := fault.Draw(rt, "call")
	fn := func(context.Context) error { *l = append(*l, "call"); return fail(call, "call") }

	p := stability.Chain(ps...)
	doors := map[string]func() error{
		"Run": func() error { return p.Run(context.Background(), fn) },
		"Do": func() error {
			_, err := stability.Do(context.Background(), p, func(ctx context.Context) (int, error) { return 0, fn(ctx) })
			return err
		},
	}
	if g, isGate := p.(stability.Gate); isGate && call < panics { // a panic between Enter and Done is the caller's
		doors["Enter"] = func() error {
			pass, err := g.Enter(context.Background())
			if err != nil {
				return err
			}
			return pass.Done(fn(pass.Context()))
		}
	}
	door := rapid.SampledFrom([]string{"Run", "Do", "Enter"}).Draw(rt, "door")
	run, there := doors[door]
	if !there {
		run = doors["Run"]
	}
	err, panicked, exited := onItsOwn(run)

	// In, as far as a gate that does not let the call in.
	var want log
	in, ending := n, call
	for i := range n {
		if asked[i] != none {
			in, ending = i, asked[i]
			break
		}
		want = append(want, "enter "+all[i].name)
	}
	if in == n {
		want = append(want, "call")
	}
	// Out, whatever each does.
	exact := true // no gate has yet broken the chain of errors
	var carried error
	switch ending {
	case refuses:
		carried = stability.ErrRejected
	case panics, exits:
		carried = stability.ErrNoReturn
	}
	for i := in - 1; i >= 0; i-- {
		g := all[i]
		want = append(want, "leave "+g.name)
		if exact && ending < panics {
			if carried == nil {
				require.NoError(rt, g.told)
			} else {
				require.ErrorIs(rt, g.told, carried)
			}
		}
		if ending >= panics && exact {
			require.Error(rt, g.told, "the call did not return")
		}
		switch told[i] {
		case refuses:
			carried = made[i]
		case panics, exits:
			exact = false
		}
	}
	require.Equal(rt, want, *l)
	for i, g := range all {
		wantCount := int64(0)
		if i < in {
			wantCount = 1
		}
		require.Equal(rt, wantCount, g.taken.Load())
		require.Equal(rt, wantCount, g.given.Load(), "given back once")
	}

	anyPanic, anyExit := ending == panics, ending == exits
	for i := range in {
		anyPanic = anyPanic || told[i] == panics
		anyExit = anyExit || told[i] == exits
	}
	switch {
	case anyPanic || anyExit:
		require.NoError(rt, err)
		require.True(rt, panicked != nil && anyPanic || exited && anyExit, "panicked %v, exited %v", panicked, exited)
	case carried == nil:
		require.NoError(rt, err)
	default:
		require.ErrorIs(rt, err, carried)
		require.NotErrorIs(rt, err, stability.ErrNoReturn, "no caller gets it")
	}
}
