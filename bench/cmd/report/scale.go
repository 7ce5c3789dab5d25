package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bench"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
)

// A curve is a cost against the size of something.
type curve struct {
	name, of, unit string
	points         []point
}

type point struct {
	size  string
	value float64
}

func ok(context.Context) error { return nil }

// scale measures how costs grow.
func scale(e effort) []curve {
	curves := []curve{policies(e), cores(e), keys(e), newKeys(), waiters(), goroutines()}
	fmt.Fprintln(os.Stderr, "at scale")
	return curves
}

// policies is a call through chains of more and more gates.
func policies(e effort) curve {
	c := curve{name: "A call through a chain", of: "gates", unit: "ns a call"}
	for _, n := range []int{1, 2, 4, 8, 16} {
		gates := make([]stability.Gate, n)
		for i := range gates {
			gates[i] = bulkhead.New(bulkhead.Config{Limit: 1000})
		}
		chain, ctx := stability.Gates(gates...), context.Background()
		c.add(strconv.Itoa(n), typical(e, 1, func(_, n int) {
			for range n {
				_ = chain.Run(ctx, ok)
			}
		}))
	}
	return c
}

// cores is a call through one breaker that more and more cores use.
func cores(e effort) curve {
	c := curve{name: "A call through one closed breaker, from a goroutine on each core", of: "cores", unit: "ns a call"}
	b, ctx := breaker.New(breaker.Config{}), context.Background()
	for n := 1; n <= runtime.GOMAXPROCS(0); n *= 2 {
		c.add(strconv.Itoa(n), typical(e, n, func(_, n int) {
			for range n {
				_ = b.Run(ctx, ok)
			}
		}))
	}
	return c
}

// keys is a call through a group of more and more members, on all cores.
func keys(e effort) curve {
	c := curve{name: "A breaker found by its key, and a call through it, on all cores", of: "keys", unit: "ns a call"}
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		group, names, ctx := breaker.NewGroup(breaker.Config{}, stability.Keys{Max: n}), numbered(n), context.Background()
		for _, name := range names {
			group.Get(name)
		}
		c.add(count(n), typical(e, runtime.GOMAXPROCS(0), func(goroutine, times int) {
			for i := range times {
				_ = group.Get(names[(goroutine*31_337+i*7919)%n]).Run(ctx, ok)
			}
		}))
	}
	return c
}

// newKeys is a bounded group to which ever new keys come.
func newKeys() curve {
	c := curve{name: "New keys come to a group that holds 1,024: a million have passed at the end", of: "keys so far", unit: "ns a key"}
	group, ctx := breaker.NewGroup(breaker.Config{}, stability.Keys{IdleFor: time.Nanosecond}), context.Background()
	from := 0
	for _, to := range []int{10_000, 100_000, 1_000_000} {
		start := time.Now()
		for i := from; i < to; i++ {
			_ = group.Get(strconv.Itoa(i)).Run(ctx, ok)
		}
		c.add(count(to), float64(time.Since(start))/float64(to-from))
		from = to
	}
	return c
}

// waiters is a queue of which all leave at once.
func waiters() curve {
	c := curve{name: "All who wait in the queue of a bulkhead are cancelled at once", of: "waiters", unit: "ns a waiter"}
	for _, n := range []int{1_000, 10_000, 50_000} {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: n})
		pass, err := b.Enter(context.Background())
		if err != nil {
			panic(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var left sync.WaitGroup
		for range n {
			left.Go(func() { _ = b.Run(ctx, ok) })
		}
		for b.Stats().Queued < n {
			runtime.Gosched()
		}
		start := time.Now()
		cancel()
		left.Wait()
		c.add(count(n), float64(time.Since(start))/float64(n))
		_ = pass.Done(nil)
		if s := b.Stats(); s.Queued != 0 || s.InUse != 0 {
			panic(fmt.Sprintf("bench: a bulkhead at rest with %+v", s))
		}
	}
	return c
}

// goroutines is a breaker and a bulkhead that all share.
func goroutines() curve {
	const calls = 100
	c := curve{name: "Goroutines that make 100 calls each through one breaker and one bulkhead", of: "goroutines", unit: "ns a call"}
	for _, n := range []int{1_000, 10_000, 100_000} {
		b, h, ctx := breaker.New(breaker.Config{}), bulkhead.New(bulkhead.Config{Limit: n}), context.Background()
		chain := stability.Gates(b, h)
		var done sync.WaitGroup
		start := time.Now()
		for range n {
			done.Go(func() {
				for range calls {
					_ = chain.Run(ctx, ok)
				}
			})
		}
		done.Wait()
		c.add(count(n), float64(time.Since(start))/float64(n*calls))
		if got := b.Stats().Succeeded; got != int64(n*calls) {
			panic(fmt.Sprintf("bench: %d calls of %d were counted", got, n*calls))
		}
	}
	return c
}

func (c *curve) add(size string, value float64) { c.points = append(c.points, point{size, value}) }

// typical is the median of some rounds, in nanoseconds for each piece of work.
func typical(e effort, goroutines int, do func(goroutine, n int)) float64 {
	work := bench.Work{Do: do}
	n := calibrate(work, goroutines, e.slice)
	var s series
	for range e.rounds {
		s = append(s, float64(run(work, goroutines, n))/float64(n))
	}
	return s.median()
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "customer-" + strconv.Itoa(i)
	}
	return names
}

// grants is how many grants a second a limiter of a million a second gives to
// goroutines that want more, for d, without those of the burst that it begins with.
func grants(d time.Duration) (perSecond float64) {
	l := ratelimit.New(ratelimit.Config{Rate: 1_000_000})
	burst := l.Stats().Burst
	var mu sync.Mutex
	var done sync.WaitGroup
	total := 0
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			n := 0
			for i := 0; i%64 != 0 || time.Since(start) < d; i++ {
				if l.Allow() {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	done.Wait()
	return float64(total-burst) / time.Since(start).Seconds()
}

// bytesPerKey is what an idle member of a group of breakers takes, key included.
func bytesPerKey() float64 {
	const n = 100_000
	names := numbered(n)
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	group, ctx := breaker.NewGroup(breaker.Config{Window: 100 * time.Millisecond}, stability.Keys{Max: n}), context.Background()
	for _, name := range names {
		_ = group.Get(name).Run(ctx, ok)
	}
	time.Sleep(time.Second) // the windows run empty, and their timers stop
	bytes := (heap() - before) / n
	runtime.KeepAlive(group)
	runtime.KeepAlive(names)
	return bytes
}

func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + ",000,000"
	case n >= 1000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + ",000"
	}
	return strconv.Itoa(n)
}
