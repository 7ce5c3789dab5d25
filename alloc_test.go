package stability_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// permit is the least that a gate can be.
type permit struct{ inside int }

func (p *permit) Admit(ctx context.Context) (stability.Admission, error) {
	p.inside++
	return stability.Admission{Ctx: ctx, Gate: p}, nil
}

func (p *permit) Release(_ stability.Admission, err error) error { p.inside--; return err }

func (p *permit) Enter(ctx context.Context) (*stability.Pass, error) {
	a, err := p.Admit(ctx)
	return a.Pass(), err
}

func (p *permit) Run(ctx context.Context, fn func(context.Context) error) error {
	a, err := p.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(fn)
}

func permits(n int) stability.Gate {
	gs := make([]stability.Gate, n)
	for i := range gs {
		gs[i] = &permit{}
	}
	return stability.Gates(gs...)
}

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	fails := func(context.Context) error { return errCall }
	value := func(context.Context) (string, error) { return "v", nil }
	single, five, eight := &permit{}, permits(5), permits(8)
	allocs := func(f func()) float64 { return testing.AllocsPerRun(1000, f) }

	require.Zero(t, allocs(func() { _ = single.Run(ctx, ok) }))
	require.Zero(t, allocs(func() { _, _ = stability.Do(ctx, single, value) }))
	for name, c := range map[string]stability.Gate{"none": stability.Gates(), "five": five, "eight": eight} {
		require.Zero(t, allocs(func() { _ = c.Run(ctx, ok) }), name)
		require.Zero(t, allocs(func() { _ = c.Run(ctx, fails) }), name)
		require.Zero(t, allocs(func() { _, _ = stability.Do(ctx, c, value) }), name)
		require.LessOrEqual(t, allocs(func() {
			pass, _ := c.Enter(ctx)
			_ = pass.Done(nil)
		}), 2.0, name)
	}
	require.LessOrEqual(t, allocs(func() {
		pass, _ := single.Enter(ctx)
		_ = pass.Done(nil)
	}), 1.0)
}
