package scene

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Load is visits of one kind, at an even pace. It does not wait for answers:
// what is slow gets no fewer visits for it.
type Load struct {
	Rate     float64       // visits a second
	From, To float64       // shares of the run's length; To 0 is the end
	Patience time.Duration // after which a visitor gives up; default 1s

	// Visit is the n-th visit, counted from 0. It returns nil when the visitor got
	// what it came for. Its ctx ends with the visitor's patience.
	Visit func(ctx context.Context, n int) error
}

// An Answer is what a visit came to.
type Answer struct {
	At   time.Duration // when it was to be made
	Took time.Duration // from then on, until its end
	Err  error
}

// Answers are those of a load, by when they were asked for.
type Answers []Answer

// Visitors is a client for Visit functions: without time limits of its own, and
// with a connection for everyone.
func (s *Stage) Visitors() *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 256}
	s.running.onStop(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// Play makes the visits of all loads and returns their answers when the last
// visitor has one, or has given up. It begins the run, and is called once.
func (s *Stage) Play(loads ...Load) []Answers {
	s.start = time.Now().Add(20 * time.Millisecond)
	close(s.started)

	var c counts
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		c.print(s)
	}()
	answers := make([]Answers, len(loads))
	var kinds sync.WaitGroup
	for i, l := range loads {
		kinds.Go(func() { answers[i] = s.play(l, &c) })
	}
	kinds.Wait()
	c.over.Store(true)
	<-lines
	return answers
}

func (s *Stage) play(l Load, c *counts) Answers {
	if l.Patience == 0 {
		l.Patience = time.Second
	}
	to := s.Length
	if l.To > 0 {
		to = s.At(l.To)
	}
	var (
		mu      sync.Mutex
		answers Answers
		visits  sync.WaitGroup
	)
	for n := 0; ; n++ {
		at := s.At(l.From) + time.Duration(float64(n)/l.Rate*float64(time.Second))
		if at >= to || !s.Pause(time.Until(s.start.Add(at))) {
			break
		}
		c.asked.Add(1)
		c.open.Add(1)
		visits.Go(func() {
			ctx, cancel := context.WithDeadline(s.ctx, s.start.Add(at+l.Patience))
			defer cancel()
			a := Answer{At: at, Err: l.Visit(ctx, n)}
			a.Took = s.Now() - at
			c.open.Add(-1)
			if a.Err == nil {
				c.good.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	visits.Wait()
	slices.SortFunc(answers, func(a, b Answer) int { return int(a.At - b.At) })
	return answers
}

// counts are of all visits so far, for the lines of progress.
type counts struct {
	asked, good, open atomic.Int64
	over              atomic.Bool
}

// print prints a line every second, until over.
func (c *counts) print(s *Stage) {
	const every = time.Second
	var asked, good int64
	for second := 1; ; second++ {
		line := time.Duration(second) * every
		for s.Now() < line {
			if c.over.Load() || !s.Pause(min(line-s.Now(), 20*time.Millisecond)) {
				return
			}
		}
		a, g := c.asked.Load(), c.good.Load()
		s.progress("%2d s   asked for %4d   good %4d   waiting %4d", second, a-asked, g-good, c.open.Load())
		asked, good = a, g
	}
}

// Between are the answers asked for between two instants.
func (as Answers) Between(from, to time.Duration) Answers {
	var some Answers
	for _, a := range as {
		if a.At >= from && a.At < to {
			some = append(some, a)
		}
	}
	return some
}

// Good is how many answers are.
func (as Answers) Good() int {
	n := 0
	for _, a := range as {
		if a.Err == nil {
			n++
		}
	}
	return n
}

// Percent is the share of good answers, 0 where there are none.
func (as Answers) Percent() float64 {
	if len(as) == 0 {
		return 0
	}
	return 100 * float64(as.Good()) / float64(len(as))
}

// String is how many answers are good, of how many.
func (as Answers) String() string { return fmt.Sprintf("%d of %d", as.Good(), len(as)) }

// PercentSeries is the share of good answers over the run, by when they were asked
// for, without a point where nothing was.
func (s *Stage) PercentSeries(as Answers) []Point {
	points := s.bins(as, Answers.Percent)
	return slices.DeleteFunc(points, func(p Point) bool { return len(as.Between(p.At-s.bin()/2, p.At+s.bin()/2)) == 0 })
}

// RateSeries is how many good answers there were a second, by when they came.
func (s *Stage) RateSeries(as Answers) []Point {
	came := make(Answers, 0, len(as))
	for _, a := range as {
		if a.Err == nil {
			came = append(came, Answer{At: a.At + a.Took})
		}
	}
	return s.bins(came, func(bin Answers) float64 { return float64(len(bin)) / s.bin().Seconds() })
}

// bin is the width of the bins of a series.
func (s *Stage) bin() time.Duration { return max(s.Length/20, time.Millisecond) }

func (s *Stage) bins(as Answers, value func(Answers) float64) []Point {
	var points []Point
	for from := time.Duration(0); from+s.bin() <= s.Length; from += s.bin() {
		points = append(points, Point{At: from + s.bin()/2, Value: value(as.Between(from, from+s.bin()))})
	}
	return points
}

// A Gauge counts what is there at a time, and remembers the most.
type Gauge struct{ now, peak atomic.Int64 }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int) { g.raise(g.now.Add(int64(n))) }

// Set makes it n.
func (g *Gauge) Set(n int) {
	g.now.Store(int64(n))
	g.raise(int64(n))
}

func (g *Gauge) raise(now int64) {
	for {
		peak := g.peak.Load()
		if now <= peak || g.peak.CompareAndSwap(peak, now) {
			return
		}
	}
}

// Now is what is there.
func (g *Gauge) Now() float64 { return float64(g.now.Load()) }

// Peak is the most that ever was.
func (g *Gauge) Peak() float64 { return float64(g.peak.Load()) }
