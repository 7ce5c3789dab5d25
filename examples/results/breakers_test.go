package results

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/antagonist"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/timeout"
)

// Ten shards, one of them dead, behind guards that are as wide as all shards, and
// behind one guard for each.
func TestWideBreakers(t *testing.T) {
	t.Parallel()
	s := newSection(7, "Breakers that are too wide")
	s.source(`Brooker, [Will circuit breakers solve my problems?](https://brooker.co.za/blog/2022/02/16/circuit-breakers.html), 2022.`)

	const (
		begin, end = 10 * time.Second, 40 * time.Second
		settled    = begin + 5*time.Second
	)
	// A guard returns the policy for the calls to a shard.
	type guard func() func(shard string) stability.Policy
	wide := func(policy func() stability.Policy) guard {
		return func() func(string) stability.Policy {
			p := policy()
			return func(string) stability.Policy { return p }
		}
	}
	wideBreaker := func(ratio float64) guard {
		return wide(func() stability.Policy { return breaker.New(breaker.Config{FailureRatio: ratio}) })
	}
	// What is expected with as much load on the dead shard as on others, and with the
	// dead shard hot: which share of the calls to the other nine succeed, and which
	// share of those to the dead one are refused instead of waiting.
	type expected struct{ nine, refused bounds }
	all, nothing := bounds{0.99, 1}, bounds{0, 0.01}
	variants := []struct {
		name      string
		guard     guard
		jitters   bool
		even, hot expected
	}{
		{
			"none", wide(func() stability.Policy { return stability.Chain() }), false,
			expected{all, nothing}, expected{all, nothing},
		},
		{
			"one breaker, 50 %", wideBreaker(0.5), true,
			expected{all, nothing}, expected{bounds{0, 0.5}, bounds{0.5, 1}},
		},
		{
			"one breaker, 5 %", wideBreaker(0.05), true,
			expected{bounds{0, 0.6}, bounds{0.4, 1}}, expected{bounds{0, 0.3}, bounds{0.7, 1}},
		},
		{
			"a breaker for each shard", func() func(string) stability.Policy {
				g := breaker.NewGroup(breaker.Config{}, stability.Keys{})
				return func(shard string) stability.Policy { return g.Get(shard) }
			}, true,
			expected{all, bounds{0.95, 1}}, expected{all, bounds{0.95, 1}},
		},
		{
			"one bulkhead of 100", wide(func() stability.Policy { return bulkhead.New(bulkhead.Config{Limit: 100}) }), false,
			expected{all, nothing}, expected{bounds{0.6, 0.75}, bounds{0.25, 0.4}},
		},
		{
			"a bulkhead of 10 for each shard", func() func(string) stability.Policy {
				g := bulkhead.NewGroup(bulkhead.Config{Limit: 10}, stability.Keys{})
				return func(shard string) stability.Policy { return g.Get(shard) }
			}, false,
			expected{all, bounds{0.1, 0.3}}, expected{all, bounds{0.9, 1}},
		},
	}
	var servers []antagonist.Server
	for i := range 10 {
		servers = append(servers, antagonist.Server{Name: fmt.Sprintf("shard-%d", i), Service: antagonist.Exponential(20 * time.Millisecond)})
	}
	rows := [][]string{{"guard", "the nine answer", "refused of the tenth", "the nine answer, the tenth hot", "refused of the tenth, hot"}}
	for _, v := range variants {
		cells := []string{v.name}
		for _, rate := range []float64{10, 150} {
			r := antagonist.Run(t, antagonist.Scenario{
				For:  45 * time.Second,
				Seed: 7,
				Load: antagonist.Load{
					{Name: "nine", Rate: antagonist.Constant(90)},
					{Name: "tenth", Rate: antagonist.Constant(rate)},
				},
				Servers: servers,
				Faults:  []antagonist.Fault{{Server: "shard-0", From: begin, To: end, Hang: true}},
				Client: func(w *antagonist.World) antagonist.Client {
					policy := v.guard()
					attempt := timeout.New(timeout.Config{After: time.Second})
					return func(ctx context.Context, r *antagonist.Request) error {
						shard := "shard-0"
						if r.Class == "nine" {
							shard = fmt.Sprintf("shard-%d", 1+r.Index%9)
						}
						return policy(shard).Run(ctx, func(ctx context.Context) error {
							return attempt.Run(ctx, func(ctx context.Context) error { return w.Call(ctx, shard) })
						})
					}
				},
				Refused: refused,
			})
			want := v.even
			if rate > 10 {
				want = v.hot
			}
			var tenth antagonist.Counts
			for _, second := range r.Class("tenth").Seconds[settled/time.Second : end/time.Second] {
				tenth.Offered += second.Offered
				tenth.Refused += second.Refused
			}
			answered, refused := goodput(r.Class("nine"), settled, end), float64(tenth.Refused)/float64(tenth.Offered)
			require.True(t, want.nine.hold(answered), "%s, %g/s: %v of the nine answer, not %v", v.name, rate, answered, want.nine)
			require.True(t, want.refused.hold(refused), "%s, %g/s: %v of the tenth refused, not %v", v.name, rate, refused, want.refused)
			if v.jitters {
				cells = append(cells, want.nine.String(), want.refused.String())
			} else {
				cells = append(cells, percent(answered), percent(refused))
			}
		}
		rows = append(rows, cells)
	}
	s.para(`Ten shards answer within 20 ms in the mean; nine of them get 10 calls a second each, and the tenth 10, or 150 when it is
		hot. The tenth hangs for 30 s; calls give up after 1 s. From 5 s after the start of the outage to its end, the share of the
		calls to the nine healthy shards that are answered, and the share of the calls to the tenth that are refused at once
		instead of waiting for their timeout:`)
	s.table(rows...)
	s.para(`*Published*, without figures: "Is this database down? Have failures reached a threshold? If you say yes, it's down, then
		you've made service worse for Jane and Tracy. If you say no, it's not down, then you may as well not have the breaker at
		all." *Ours* are both horns. With one of ten shards dead, one breaker at the default of 50 %% never opens, and may as well
		not be there; at 5 %% it makes an outage of a tenth into one of more than four tenths, and so does the default when the dead
		shard is the hot one. **The harm is not the breaker's alone:** one bulkhead around all shards fills with calls to the hot one
		that hang, and turns away a third of the others'. A member of a Group for each shard refuses what is dead and nothing
		else.`)
	s.para(`What the page cannot mend: the client must know which shard a call goes to (the "tight coupling" of the source). A breaker
		for each host, as stabilityhttp keeps them, is one wide breaker when a load balancer stands before the shards. The breaker
		jitters its open time, and one that is too wide flaps with whichever call happens to be its probe, so its lines give the
		bounds of the test instead of one run's figures.`)
	s.publish(t)
}

// bounds are the shares between which a figure must lie, both included.
type bounds struct{ low, high float64 }

func (b bounds) hold(share float64) bool { return b.low <= share && share <= b.high }

func (b bounds) String() string {
	switch {
	case b.high == 1:
		return "≥ " + percent(b.low)
	case b.low == 0:
		return "≤ " + percent(b.high)
	}
	return percent(b.low) + " to " + percent(b.high)
}
