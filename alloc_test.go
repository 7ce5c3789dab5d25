package stability_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// permit is the least that a gate can be.
type permit struct{ inside int }

func (p *permit) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	p.inside++
	return ctx, stability.Admission{Gate: p}, nil
}

func (p *permit) Release(_ context.Context, _ int64, err error) error { p.inside--; return err }

func (p *permit) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := p.Admit(ctx)
	return a.Pass(ctx), err
}

func (p *permit) Run(ctx context.Context, fn func(context.Context) error) error {
	ctx, a, err := p.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, fn)
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
	single := &permit{}
	allocs := func(f func()) float64 { return testing.AllocsPerRun(1000, f) }

	require.Zero(t, allocs(func() { _ = single.Run(ctx, ok) }))
	require.Zero(t, allocs(func() { _, _ = stability.Do(ctx, single, value) }))
	for _, n := range []int{0, 1, 5, 8, 9, 40} {
		c := permits(n)
		require.Zero(t, allocs(func() { _ = c.Run(ctx, ok) }), n)
		require.Zero(t, allocs(func() { _ = c.Run(ctx, fails) }), n)
		require.Zero(t, allocs(func() { _, _ = stability.Do(ctx, c, value) }), n)
		require.LessOrEqual(t, allocs(func() {
			pass, _ := c.Enter(ctx)
			_ = pass.Done(nil)
		}), float64(1+n/8), "%d: a frame for eight, of which one may be for the rest", n)
	}
	require.LessOrEqual(t, allocs(func() {
		pass, _ := single.Enter(ctx)
		_ = pass.Done(nil)
	}), 1.0)
}
