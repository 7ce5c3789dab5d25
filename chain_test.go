package stability_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// gates makes n of them that write into one log.
func gates(n int) ([]*gate, *log) {
	l := new(log)
	all := make([]*gate, n)
	for i := range all {
		all[i] = &gate{name: fmt.Sprint(i), log: l}
	}
	return all, l
}

// wantLog is what n gates and a call write: in, from the outermost, and out, from the
// innermost.
func wantLog(n int) log {
	var l log
	for i := range n {
		l = append(l, fmt.Sprint("enter ", i))
	}
	l = append(l, "call")
	for i := range n {
		l = append(l, fmt.Sprint("leave ", n-1-i))
	}
	return l
}

// Chains of any length and any mixture of policies, each of them however it is put
// together, go in from the outermost and out from the innermost.
func TestChainOrder(t *testing.T) {
	kinds := map[string]func(i int, g *gate) stability.Policy{
		"gates":    func(_ int, g *gate) stability.Policy { return g },
		"foreign":  func(_ int, g *gate) stability.Policy { return foreign{g} },
		"policies": func(_ int, g *gate) stability.Policy { return plain{g} },
		"arounds":  func(_ int, g *gate) stability.Policy { return around{plain{g}} },
		"mixed": func(i int, g *gate) stability.Policy {
			return []stability.Policy{g, plain{g}, foreign{g}, around{plain{g}}, g, g}[i%6]
		},
	}
	shapes := map[string]func(...stability.Policy) stability.Policy{
		"flat": stability.Chain,
		"nested": func(ps ...stability.Policy) stability.Policy {
			p := stability.Chain()
			for _, inner := range ps {
				p = stability.Chain(p, nil, inner)
			}
			return p
		},
		"nested the other way": func(ps ...stability.Policy) stability.Policy {
			p := stability.Chain(nil)
			for _, outer := range slices.Backward(ps) {
				p = stability.Chain(outer, p, nil)
			}
			return p
		},
		"halves": func(ps ...stability.Policy) stability.Policy {
			return stability.Chain(stability.Chain(ps[:len(ps)/2]...), stability.Chain(ps[len(ps)/2:]...))
		},
	}
	for kind, of := range kinds {
		for shape, chain := range shapes {
			for n := range 21 {
				t.Run(fmt.Sprintf("%d %s %s", n, kind, shape), func(t *testing.T) {
					all, l := gates(n)
					var ps []stability.Policy
					for i, g := range all {
						ps = append(ps, of(i, g))
					}
					p := chain(ps...)
					call := func(ctx context.Context) error {
						for _, g := range all {
							require.Equal(t, g, ctx.Value(ctxKey(g.name)), "its context reaches the call")
						}
						*l = append(*l, "call")
						return errCall
					}
					require.Equal(t, errCall, p.Run(t.Context(), call))
					require.Equal(t, wantLog(n), *l)

					*l = nil
					v, err := stability.Do(t.Context(), p, func(ctx context.Context) (int, error) { return 3, call(ctx) })
					require.Equal(t, 3, v)
					require.Equal(t, errCall, err)
					require.Equal(t, wantLog(n), *l)

					g, isGate := p.(stability.Gate)
					require.Equal(t, n == 0 || kind == "gates" || kind == "foreign" || kind == "mixed" && n == 1, isGate)
					if isGate {
						*l = nil
						pass, err := g.Enter(t.Context())
						require.NoError(t, err)
						require.Equal(t, errCall, pass.Done(call(pass.Context())))
						require.Equal(t, wantLog(n), *l)
						require.NoError(t, pass.Done(nil))
						require.Equal(t, wantLog(n), *l)
					}
				})
			}
		}
	}
}

func TestGates(t *testing.T) {
	all, l := gates(3)
	g := stability.Gates(nil, all[0], nil, stability.Gates(foreign{all[1]}, open{}, all[2]), open{})
	require.NoError(t, g.Run(t.Context(), func(context.Context) error { *l = append(*l, "call"); return nil }))
	require.Equal(t, wantLog(3), *l)
	require.Equal(t, errCall, stability.Gates().Run(t.Context(), func(context.Context) error { return errCall }))
	pass, err := stability.Gates(nil).Enter(t.Context())
	require.NoError(t, err)
	require.Equal(t, t.Context(), pass.Context())
	require.NoError(t, pass.Done(nil))
}

// A refusal further in is told to those who had let the call in, and to nobody else;
// each may make something of it.
func TestRefusalFurtherIn(t *testing.T) {
	refusal := &stability.Rejection{Policy: "inner"}
	for _, n := range []int{1, 2, 5, 8, 9, 20} {
		for k := range n {
			all, _ := gates(n)
			all[k].admit = func() error { return refusal }
			var gs []stability.Gate
			for _, g := range all {
				g.make = func(err error) error { return fmt.Errorf("%s: %w", g.name, err) }
				gs = append(gs, g)
			}
			c := stability.Gates(gs...)
			runs := map[string]func() error{
				"Run": func() error {
					return c.Run(t.Context(), func(context.Context) error { t.Error("ran"); return nil })
				},
				"Do": func() error {
					v, err := stability.Do(t.Context(), c, func(context.Context) (int, error) { t.Error("ran"); return 3, nil })
					require.Zero(t, v)
					return err
				},
				"Enter": func() error {
					pass, err := c.Enter(t.Context())
					require.Nil(t, pass)
					return err
				},
			}
			times := int64(0)
			for door, run := range runs {
				times++
				err := run()
				require.ErrorIs(t, err, refusal, door)
				for i, g := range all {
					if i < k {
						require.Equal(t, times, g.given.Load())
						require.ErrorIs(t, g.told, refusal)
					} else {
						require.Zero(t, g.given.Load())
					}
				}
				if k > 0 {
					require.Equal(t, "0: "+all[0].told.Error(), err.Error(), "what the outermost made of it")
				}
			}
		}
	}
}

// A gate in the middle that panics, or ends the goroutine, when it is asked or when
// it is told: all others that let the call in are told, once.
func TestGateThatDoesNotReturn(t *testing.T) {
	ways := map[string]func() error{
		"panics": func() error { panic("gate") },
		"exits":  goexit,
	}
	for way, fault := range ways {
		for _, n := range []int{3, 8, 9, 20} {
			for _, when := range []string{"asked", "told"} {
				for _, door := range []string{"Run", "Do", "Enter"} {
					t.Run(fmt.Sprintf("%s when %s, %s of %d", way, when, door, n), func(t *testing.T) {
						all, _ := gates(n)
						middle := n / 2
						if when == "asked" {
							all[middle].admit = fault
						} else {
							all[middle].make = func(error) error { return fault() }
						}
						var gs []stability.Gate
						for _, g := range all {
							gs = append(gs, g)
						}
						c := stability.Gates(gs...)
						_, panicked, exited := onItsOwn(func() error {
							switch door {
							case "Run":
								return c.Run(t.Context(), ok)
							case "Do":
								_, err := stability.Do(t.Context(), c, func(context.Context) (int, error) { return 0, nil })
								return err
							default:
								pass, err := c.Enter(t.Context())
								if err != nil {
									return err
								}
								return pass.Done(nil)
							}
						})
						require.Equal(t, way == "exits", exited)
						if way == "panics" {
							require.Equal(t, "gate", panicked)
						}
						for i, g := range all {
							want := int64(1)
							if when == "asked" && i >= middle {
								want = 0
							}
							require.Equal(t, want, g.taken.Load(), "gate %d", i)
							require.Equal(t, want, g.given.Load(), "gate %d", i)
							if when == "asked" && i < middle {
								require.Equal(t, stability.ErrNoReturn, g.told)
							}
						}
					})
				}
			}
		}
	}
}

// A chain keeps no trace of one call for the next, nor of another chain it is in.
func TestChainIsReused(t *testing.T) {
	all, l := gates(4)
	inner := stability.Chain(all[1], all[2])
	outer := stability.Chain(all[0], inner, all[3])
	for range 3 {
		*l = nil
		require.NoError(t, outer.Run(t.Context(), func(context.Context) error { *l = append(*l, "call"); return nil }))
		require.Equal(t, wantLog(4), *l)
	}
	*l = nil
	require.NoError(t, inner.Run(t.Context(), ok))
	require.Equal(t, log{"enter 1", "enter 2", "leave 2", "leave 1"}, *l)
}

// A policy that runs the call again passes the gates inside it again.
func TestGatesInsideAPolicyThatRepeats(t *testing.T) {
	all, _ := gates(2)
	calls := 0
	err := stability.Chain(all[0], twice{}, all[1]).Run(t.Context(), func(context.Context) error { calls++; return nil })
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.EqualValues(t, 1, all[0].given.Load())
	require.EqualValues(t, 2, all[1].given.Load())
}

type twice struct{}

func (t twice) Around(ctx context.Context, inner stability.Policy, fn func(context.Context) error) error {
	return t.Run(ctx, func(ctx context.Context) error { return inner.Run(ctx, fn) })
}

func (twice) Run(ctx context.Context, fn func(context.Context) error) error {
	_ = fn(ctx)
	return fn(ctx)
}
