package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/crumplezone/stability/breaker"
)

// A summary is what both runs say together.
type summary struct {
	Options     options
	Results     []result
	Figures     []figures // of each result
	Interrupted bool
	Checks      []check // what the protected run had to hold; none where it was not played to its end
	Held        bool
}

// figures are the numbers of one run. The fields from Hung on are about the time
// while recommendations hung.
type figures struct {
	Name      string
	Good      share // of all pages
	Recovery  time.Duration
	Recovered bool // whether Recovery is known

	Lag time.Duration // the latest that a page was asked for after its instant

	Goroutines uint64 // the peaks over the run
	Memory     uint64
	Pages      int64

	Hung          share // good, of all pages
	HungOthers    share // good, of the pages that do not need recommendations
	Degraded      int   // good, without recommendations
	P50, P99, Max time.Duration
	Reached       int  // calls that reached recommendations
	Opened        bool // whether the breaker opened
	AfterOpen     int  // calls made after it opened that reached them
	Probes        int  // times it was half-open
}

// A check is a condition on the protected run.
type check struct {
	Text string
	OK   bool
}

// The shares of good pages that the protected run must reach while
// recommendations hang.
const (
	wantOthers = 0.995
	wantAll    = 0.95
)

func summarize(o options, results []result, interrupted bool) summary {
	s := summary{Options: o, Results: results, Interrupted: interrupted}
	for _, r := range results {
		s.Figures = append(s.Figures, measure(r, o))
	}
	if i := slices.IndexFunc(s.Figures, func(f figures) bool { return f.Name == protected }); i >= 0 && !interrupted {
		s.Checks = judge(s.Figures[i])
		s.Held = !slices.ContainsFunc(s.Checks, func(c check) bool { return !c.OK })
	}
	return s
}

func judge(f figures) []check {
	return []check{
		{
			Text: fmt.Sprintf("pages that do not need recommendations, good while they hung: %v (at least %.1f %%)", f.HungOthers, 100*wantOthers),
			OK:   f.HungOthers.atLeast(wantOthers),
		},
		{
			Text: fmt.Sprintf("all pages, good while they hung: %v (at least %.1f %%)", f.Hung, 100*wantAll),
			OK:   f.Hung.atLeast(wantAll),
		},
		{
			Text: fmt.Sprintf("calls that reached recommendations after the breaker opened: %d (only probes: at most %d)", f.AfterOpen, f.Probes),
			OK:   f.AfterOpen <= f.Probes,
		},
	}
}

// measure computes the figures of a run.
func measure(r result, o options) figures {
	f := figures{Name: r.name, Lag: r.lag}
	from, to := r.hang()
	var took []time.Duration
	for _, a := range r.answers {
		good := a.good(o.within)
		f.Good.add(good)
		if a.at < from || a.at >= to {
			continue
		}
		took = append(took, a.took)
		f.Hung.add(good)
		if !a.page.recommends {
			f.HungOthers.add(good)
		}
		if good && a.degraded {
			f.Degraded++
		}
	}
	slices.Sort(took)
	f.P50, f.P99, f.Max = percentile(took, 50), percentile(took, 99), percentile(took, 100)

	for _, s := range r.samples {
		f.Goroutines = max(f.Goroutines, s.goroutines)
		f.Memory = max(f.Memory, s.memory)
		f.Pages = max(f.Pages, s.pages)
	}

	opened := to
	for _, c := range r.changes {
		switch {
		case c.at < from || c.at >= to:
		case c.to == breaker.Open && !f.Opened:
			f.Opened = true
			opened = c.at
		case c.to == breaker.HalfOpen:
			f.Probes++
		}
	}
	for _, c := range r.calls {
		if c.arrived < from || c.arrived >= to {
			continue
		}
		f.Reached++
		if c.sent >= opened {
			f.AfterOpen++
		}
	}

	if r.backAt > 0 {
		f.Recovery, f.Recovered = recovery(r.answers, r.backAt, o.within)
	}
	return f
}

// hang is the span in which recommendations hung, empty where the run ended
// before.
func (r result) hang() (from, to time.Duration) {
	switch {
	case r.hungAt == 0:
		return r.ended, r.ended
	case r.backAt == 0:
		return r.hungAt, r.ended
	default:
		return r.hungAt, r.backAt
	}
}

// recovery is how long after back the storefront had recovered: from then on,
// for a second, 99 of 100 pages were good and whole. It is
// not known when no such second was seen whole.
func recovery(answers []answer, back time.Duration, within time.Duration) (time.Duration, bool) {
	const span = time.Second
	later := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.at < back })
	slices.SortFunc(later, func(a, b answer) int { return cmp.Compare(a.at, b.at) })
	var whole share // of the pages in [i, end)
	isWhole := func(a answer) bool { return a.good(within) && !a.degraded }
	end := 0
	for _, first := range later {
		for end < len(later) && later[end].at < first.at+span {
			whole.add(isWhole(later[end]))
			end++
		}
		if end == len(later) {
			break // The second may go on after the last page.
		}
		if whole.atLeast(0.99) {
			return first.at - back, true
		}
		whole.Of--
		if isWhole(first) {
			whole.N--
		}
	}
	return 0, false
}

// percentile returns the least of the sorted values that p percent of them do
// not exceed, and 0 where there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted)))), 1)-1]
}

// A share is N of Of.
type share struct{ N, Of int }

func (s *share) add(in bool) {
	s.Of++
	if in {
		s.N++
	}
}

// atLeast reports whether the share is known and at least q.
func (s share) atLeast(q float64) bool {
	return s.Of > 0 && float64(s.N) >= q*float64(s.Of)
}

// String is in percent, rounded down, so that only all is 100.00 %.
func (s share) String() string {
	if s.Of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f %%", math.Floor(10000*float64(s.N)/float64(s.Of))/100)
}
