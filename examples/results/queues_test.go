package results

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/antagonist"
	"github.com/crumplezone/stability/bulkhead"
)

// A server that gets more than it can do, and in what order and how long it lets
// calls wait.
func TestQueueDisciplines(t *testing.T) {
	t.Parallel()
	s := newSection(6, "Queue disciplines under overload")
	s.source(`Maurer, [Fail at Scale](https://queue.acm.org/detail.cfm?id=2839461), ACM Queue 13(8), 2015; Nichols, Jacobson,
		[Controlling Queue Delay](https://queue.acm.org/detail.cfm?id=2209336), ACM Queue 10(5), 2012.`)

	const (
		workers  = 20
		service  = 50 * time.Millisecond
		capacity = 400.0
		patience = 500 * time.Millisecond
		warm     = 10 * time.Second
		length   = 30 * time.Second
	)
	codel := antagonist.CoDel{Target: 5 * time.Millisecond, Interval: 100 * time.Millisecond}
	const (
		fifo, expired, long, short = "FIFO", "FIFO, the expired dropped", "FIFO, at most 400 wait", "FIFO, at most 40 wait"
		delay, lifo, gate          = "CoDel", "CoDel, adaptive LIFO", "bulkhead of 20, 40 wait"
	)
	disciplines := []struct {
		name  string
		queue antagonist.Queue
		gate  bulkhead.Config
	}{
		{name: fifo},
		{name: expired, queue: antagonist.Queue{DropExpired: true}},
		{name: long, queue: antagonist.Queue{Max: 400}},
		{name: short, queue: antagonist.Queue{Max: 40}},
		{name: delay, queue: antagonist.Queue{CoDel: codel}},
		{name: lifo, queue: antagonist.Queue{CoDel: codel, Order: antagonist.AdaptiveLIFO}},
		{name: gate, gate: bulkhead.Config{Limit: workers, Queue: 40}},
	}
	loads := []float64{0.9, 1.2, 2}
	head := []string{"queue"}
	for _, load := range loads {
		head = append(head, fmt.Sprintf("at %g times the capacity", load))
	}
	rows := [][]string{head}
	useful := map[string][]float64{} // answers in time, as a share of the capacity
	p99 := map[string][]time.Duration{}
	for _, d := range disciplines {
		cells := []string{d.name}
		for _, load := range loads {
			r := antagonist.Run(t, antagonist.Scenario{
				For:     length,
				Seed:    6,
				Load:    antagonist.Load{{Rate: antagonist.Constant(load * capacity), Patience: patience}},
				Servers: []antagonist.Server{{Name: "db", Workers: workers, Service: antagonist.Exponential(service), Queue: d.queue}},
				Client: func(w *antagonist.World) antagonist.Client {
					var b *bulkhead.Bulkhead
					if d.gate.Limit > 0 {
						b = bulkhead.New(d.gate)
					}
					return func(ctx context.Context, _ *antagonist.Request) error {
						return b.Run(ctx, func(ctx context.Context) error { return w.Call(ctx, "db") })
					}
				},
				Refused: refused,
			})
			share := goodput(&r.Series, warm, length) * load
			useful[d.name], p99[d.name] = append(useful[d.name], share), append(p99[d.name], r.Percentile(99))
			cells = append(cells, fmt.Sprintf("%s, %d ms", percent(share), r.Percentile(99).Round(time.Millisecond).Milliseconds()))
		}
		rows = append(rows, cells)
	}
	s.para(`%d workers take %v for a call in the mean, %.0f a second; callers leave after %v, and the server does not notice. Answers in
		time as a share of the capacity, and the 99th percentile of their latency:`, workers, service, capacity, patience)
	s.table(rows...)
	for _, d := range disciplines {
		require.InDelta(t, 0.9, useful[d.name][0], 0.06, d.name)
	}
	for load := 1; load < len(loads); load++ {
		require.Less(t, useful[fifo][load], 0.01)
		require.Less(t, useful[long][load], 0.01)
		require.Less(t, useful[expired][load], 0.3)
		for _, name := range []string{short, delay, lifo, gate} {
			require.Greater(t, useful[name][load], 0.95, name)
		}
		require.Less(t, p99[delay][load], p99[short][load])
		require.LessOrEqual(t, p99[lifo][load], p99[delay][load])
	}
	s.para(`*Published*, without figures: a queue without bound makes everybody wait until they have left, and the server works for
		nobody. Limits on the length of a queue "have required tuning on a per-service basis". The variant of CoDel, which lets calls
		wait for N, or for M once the queue has not been empty for N, works across a wide set of use cases with M = 5 ms and N = 100
		ms: the server accepts a little more than it can handle, and does not go idle. Adaptive LIFO serves the newest first while
		there is a queue, whose callers are the likeliest to be there still, and the two go together.`)
	s.para(`*Ours* agree: the unbounded queue and the one of 400, whose wait of a second is longer than anybody stays, answer less than
		1 %% in time; to drop the expired is too late, because what is left has just as much time as it takes to fail; all others
		keep the server busy with useful work above 95 %%, and CoDel with adaptive LIFO is the fastest. Two notes. A bulkhead in the
		client is as good as a bound in the server, as long as there is one client and its limit is the server's. And CoDel has its
		price below capacity: with calls of 50 ms, ten times its M, it refuses %.0f of 90 that a plain queue serves.`,
		100*(useful[fifo][0]-useful[delay][0]))
	s.publish(t)
}
