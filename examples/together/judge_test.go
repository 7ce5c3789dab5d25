package together

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crumplezone/stability/antagonist"
)

// grace is how long after a cause has gone nothing is asked.
const grace = 10

// A phase is a span of the run within which the load and the servers are the same.
type phase struct {
	name     string
	from, to int
	load     float64
	capacity float64 // requests a second
	calm     bool    // nothing is wrong: below its capacity nobody is refused by his own side
}

func (c cell) phases() []phase {
	whole := phase{"", 0, c.seconds, c.load, c.capacity(), true}
	if c.cause.to == 0 {
		return []phase{whole}
	}
	before, during, after := whole, whole, whole
	before.name, before.to = "before", c.cause.from
	during.name, during.from, during.to, during.calm = "during", c.cause.from, c.cause.to, false
	after.name, after.from = "after", c.cause.to+grace
	if c.cause.away {
		during.capacity = 0
	} else {
		during.load = c.cause.load
	}
	return []phase{before, during, after}
}

// A score is what a side made of a phase.
type score struct {
	good, refused int
	possible      float64 // that could have been answered
	offered       int
}

func (s score) share() float64 {
	if s.possible == 0 {
		return 0
	}
	return float64(s.good) / s.possible
}

func (c cell) score(p phase, r *antagonist.Result) score {
	var s score
	for _, second := range r.Seconds[p.from:p.to] {
		s.good += second.Good
		s.refused += second.Refused
		s.offered += second.Offered
	}
	s.possible = min(float64(s.offered)*(1-c.failing), p.capacity*float64(p.to-p.from))
	return s
}

// A verdict is how a cell came out.
type verdict struct {
	cell
	ours, plain []score // by phase
	back        int     // seconds from the end of the cause until ours is as good as plain
	faults      []string
	tries, held int // how often the cell was run, and how often it held
}

func (c cell) judge(ours, plain *antagonist.Result) verdict {
	v := verdict{cell: c}
	for _, p := range c.phases() {
		o, n := c.score(p, ours), c.score(p, plain)
		v.ours, v.plain = append(v.ours, o), append(v.plain, n)
		name := p.name
		if name != "" {
			name += ": "
		}
		point := 0.01 * min(float64(o.offered)*(1-c.failing), c.capacity()*float64(p.to-p.from))
		if missing := float64(n.good - o.good); missing > point {
			v.faults = append(v.faults, fmt.Sprintf("%s%.0f %% less than net/http", name, missing/point))
		}
		if p.load >= 1 && n.share() < 0.9 && o.share() < 0.9 {
			v.faults = append(v.faults, fmt.Sprintf("%s%.0f %% of capacity", name, 100*o.share()))
		}
		if p.calm && p.load < 1 && o.refused > 0 {
			v.faults = append(v.faults, fmt.Sprintf("%s%d of %d refused by their own side", name, o.refused, o.offered))
		}
	}
	if c.cause.to > 0 {
		v.back = c.backAfter(ours, plain)
	}
	return v
}

// backAfter is how many seconds after the cause it takes until, over all that is
// left, ours is as good as plain.
func (c cell) backAfter(ours, plain *antagonist.Result) int {
	good, other := 0, 0
	left := 0.0
	after := c.seconds - c.cause.to
	for i := range slices.Backward(ours.Seconds[c.cause.to:]) {
		at := c.cause.to + i
		good += ours.Seconds[at].Good
		other += plain.Seconds[at].Good
		left += min(float64(ours.Seconds[at].Offered), c.capacity())
		if float64(other-good) > 0.01*left+1 {
			break
		}
		after = i
	}
	return after
}

func (v verdict) holds() bool { return len(v.faults) == 0 }

// shares writes the goodput of each phase.
func shares(scores []score) string {
	var out []string
	for _, s := range scores {
		if s.possible == 0 {
			out = append(out, "–")
			continue
		}
		out = append(out, fmt.Sprintf("%.0f", 100*s.share()))
	}
	return strings.Join(out, " / ") + " %"
}
