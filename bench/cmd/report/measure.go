package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/bench"
)

// A mode is how many goroutines work, on how many cores.
type mode struct {
	name   string
	cores  int
	serial bool // one goroutine, whatever the row's crowd
}

func modes(all int) []mode {
	ms := []mode{{"serial", all, true}, {"1 core", 1, false}}
	if all > 2 {
		ms = append(ms, mode{"2 cores", 2, false})
	}
	return append(ms, mode{fmt.Sprintf("%d cores", all), all, false})
}

// A series is what one candidate took in one mode, in nanoseconds of wall time for
// each piece of work, round by round.
type series []float64

func (s series) median() float64 { return quantile(s, 0.5) }

// spread is half the distance of the quartiles, as a share of the median.
func (s series) spread() float64 {
	return (quantile(s, 0.75) - quantile(s, 0.25)) / 2 / s.median()
}

// ratio is how many times as long as against s took in the same round, in the median
// of the rounds: what slows a whole round down falls out.
func (s series) ratio(against series) series {
	ratios := make(series, len(s))
	for i := range s {
		ratios[i] = s[i] / against[i]
	}
	return ratios
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// result is what a row came to.
type result struct {
	row    bench.Row
	modes  []mode
	time   map[string]map[string]series // by candidate and mode
	allocs map[string]float64           // by candidate
	bytes  map[string]float64
}

// effort is how much time the report takes.
type effort struct {
	rounds int
	slice  time.Duration // what one candidate works for in a round
}

// measure runs a row: in each mode, the candidates one after another in every round,
// each round beginning with another one.
func measure(row bench.Row, e effort) result {
	all := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(all)
	r := result{row: row, modes: modes(all), time: map[string]map[string]series{}, allocs: map[string]float64{}, bytes: map[string]float64{}}
	if row.Real {
		e.rounds, e.slice = 2*e.rounds, 2*e.slice
	}
	for _, c := range row.Candidates {
		r.time[c.Name] = map[string]series{}
		work := c.Setup()
		r.allocs[c.Name], r.bytes[c.Name] = allocations(work, calibrate(work, 1, e.slice/4))
		shut(work)
	}
	for _, m := range r.modes {
		runtime.GOMAXPROCS(m.cores)
		goroutines := m.cores * max(1, row.Crowd)
		if m.serial {
			goroutines = 1
		}
		works, counts := make([]bench.Work, len(row.Candidates)), make([]int, len(row.Candidates))
		for i, c := range row.Candidates {
			works[i] = c.Setup()
			counts[i] = calibrate(works[i], goroutines, e.slice)
		}
		for round := range e.rounds {
			for i := range works {
				i = (i + round) % len(works)
				runtime.GC()
				took := run(works[i], goroutines, counts[i])
				name := row.Candidates[i].Name
				r.time[name][m.name] = append(r.time[name][m.name], float64(took.Nanoseconds())/float64(counts[i]))
			}
		}
		for _, work := range works {
			shut(work)
		}
	}
	fmt.Fprintf(os.Stderr, "%s\n", row.Name)
	return r
}

func shut(work bench.Work) {
	if work.Close != nil {
		work.Close()
	}
}

// calibrate returns how often the work is to be done to take about d.
func calibrate(work bench.Work, goroutines int, d time.Duration) int {
	n := goroutines
	for {
		took := run(work, goroutines, n)
		if took >= d/4 {
			return max(goroutines, int(float64(n)*float64(d)/float64(took)))
		}
		n *= int(min(10, max(2, d/4/max(took, 1))))
	}
}

// chunk is how much of the work a goroutine takes at a time, so that all of them end
// together.
const chunk = 1000

// run does the work n times in all and returns how long that took.
func run(work bench.Work, goroutines, n int) time.Duration {
	if goroutines == 1 {
		start := time.Now()
		work.Do(0, n)
		return time.Since(start)
	}
	share := min(chunk, max(1, n/goroutines/8))
	var left atomic.Int64
	left.Store(int64(n))
	var ready, done sync.WaitGroup
	gun := make(chan struct{})
	ready.Add(goroutines)
	for g := range goroutines {
		done.Go(func() {
			ready.Done()
			<-gun
			for {
				mine := min(share, share+int(left.Add(-int64(share))))
				if mine <= 0 {
					return
				}
				work.Do(g, mine)
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(gun)
	done.Wait()
	return time.Since(start)
}

// allocations counts those of the work, and of all that it starts.
func allocations(work bench.Work, n int) (count, bytes float64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	n = min(n, 100_000)
	work.Do(0, min(n, 100))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work.Do(0, n)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n), float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
}
