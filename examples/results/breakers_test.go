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

	wideBreaker := func(ratio float64) guard {
		return wide(func(w *antagonist.World) stability.Policy {
			return breaker.New(breaker.Config{FailureRatio: ratio, Jitter: w.Jitter})
		})
	}
	// What is expected with as much load on the dead shard as on others, and with the
	// dead shard hot: which share of the calls to the other nine succeed, and which
	// share of those to the dead one are refused instead of waiting.
	type expected struct{ nine, refused bounds }
	all, nothing := bounds{0.99, 1}, bounds{0, 0.01}
	variants := []struct {
		name      string
		guard     guard
		jitters   bool // its open time
		even, hot expected
	}{
		{
			"none", wide(func(*antagonist.World) stability.Policy { return stability.Chain() }), false,
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
			"a breaker for each shard", func(w *antagonist.World) func(string) stability.Policy {
				g := breaker.NewGroup(breaker.Config{Jitter: w.Jitter}, stability.Keys{})
				return func(shard string) stability.Policy { return g.Get(shard) }
			}, true,
			expected{all, bounds{0.95, 1}}, expected{all, bounds{0.95, 1}},
		},
		{
			"one bulkhead of 100", wide(func(*antagonist.World) stability.Policy { return bulkhead.New(bulkhead.Config{Limit: 100}) }), false,
			expected{all, nothing}, expected{bounds{0.6, 0.75}, bounds{0.25, 0.4}},
		},
		{
			"a bulkhead of 10 for each shard", func(*antagonist.World) func(string) stability.Policy {
				g := bulkhead.NewGroup(bulkhead.Config{Limit: 10}, stability.Keys{})
				return func(shard string) stability.Policy { return g.Get(shard) }
			}, false,
			expected{all, bounds{0.1, 0.3}}, expected{all, bounds{0.9, 1}},
		},
	}
	const even, hot = 10, 150
	rows := [][]string{{"guard", "the nine answer", "refused of the tenth", "the nine answer, the tenth hot", "refused of the tenth, hot"}}
	for _, v := range variants {
		cells := []string{v.name}
		for i, want := range []expected{v.even, v.hot} {
			rate := []float64{even, hot}[i]
			r := runShards(t, v.guard, rate, 7)
			if v.jitters {
				requireAlike(t, r, runShards(t, v.guard, rate, 7))
			}
			nine, tenth := sharesOfShards(r)
			require.True(t, want.nine.hold(nine), "%s, %g/s: %v of the nine answer, not %v", v.name, rate, nine, want.nine)
			require.True(t, want.refused.hold(tenth), "%s, %g/s: %v of the tenth refused, not %v", v.name, rate, tenth, want.refused)
			cells = append(cells, percent(nine), percent(tenth))
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
		for each host, as stabilityhttp keeps them, is one wide breaker when a load balancer stands before the shards.`)
	const seeds = 5
	spread := func(ratio, rate float64, want bounds) string {
		low, high := 1.0, 0.0
		for seed := range uint64(seeds) {
			nine, _ := sharesOfShards(runShards(t, wideBreaker(ratio), rate, seed))
			require.True(t, want.hold(nine), "%g, %g/s, seed %d: %v of the nine answer, not %v", ratio, rate, seed, nine, want)
			low, high = min(low, nine), max(high, nine)
		}
		return fmt.Sprintf("%.0f to %s", 100*low, percent(high))
	}
	s.para(`A breaker that is too wide flaps with whichever call happens to be its probe, so its lines are what chance made of one
		seed. From one of %d seeds to another, %s of the calls to the nine are answered at 5 %%, and %s at 50 %% with the tenth
		hot.`,
		seeds, spread(0.05, even, bounds{0, 0.6}), spread(0.5, hot, bounds{0, 0.5}))
	s.publish(t)
}

// A guard returns the policy for the calls to a shard.
type guard func(w *antagonist.World) func(shard string) stability.Policy

// wide guards all shards with one policy.
func wide(policy func(w *antagonist.World) stability.Policy) guard {
	return func(w *antagonist.World) func(string) stability.Policy {
		p := policy(w)
		return func(string) stability.Policy { return p }
	}
}

// When the tenth shard hangs, and from when on the guards have had time to act.
const (
	deadFrom, deadTo = 10 * time.Second, 40 * time.Second
	settled          = deadFrom + 5*time.Second
)

// runShards calls ten shards, of which the tenth gets calls at a rate of its own, and
// hangs for a while.
func runShards(t *testing.T, g guard, rate float64, seed uint64) *antagonist.Result {
	t.Helper()
	var servers []antagonist.Server
	for i := range 10 {
		servers = append(servers, antagonist.Server{Name: fmt.Sprintf("shard-%d", i), Service: antagonist.Exponential(20 * time.Millisecond)})
	}
	return antagonist.Run(t, antagonist.Scenario{
		For:  45 * time.Second,
		Seed: seed,
		Load: antagonist.Load{
			{Name: "nine", Rate: antagonist.Constant(90)},
			{Name: "tenth", Rate: antagonist.Constant(rate)},
		},
		Servers: servers,
		Faults:  []antagonist.Fault{{Server: "shard-0", From: deadFrom, To: deadTo, Hang: true}},
		Client: func(w *antagonist.World) antagonist.Client {
			policy := g(w)
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
}

// sharesOfShards returns, while the tenth shard is dead and the guards have settled,
// which share of the calls to the nine was answered, and which of those to the tenth
// refused.
func sharesOfShards(r *antagonist.Result) (nine, tenth float64) {
	var sum antagonist.Counts
	for _, second := range r.Class("tenth").Seconds[settled/time.Second : deadTo/time.Second] {
		sum.Offered += second.Offered
		sum.Refused += second.Refused
	}
	return goodput(r.Class("nine"), settled, deadTo), float64(sum.Refused) / float64(sum.Offered)
}

// bounds are the shares between which a figure must lie, both included.
type bounds struct{ low, high float64 }

func (b bounds) hold(share float64) bool { return b.low <= share && share <= b.high }
