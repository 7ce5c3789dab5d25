package together

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crumplezone/stability/antagonist"
)

const (
	// settle is how long before a cause nothing is asked: what comes then may meet it.
	settle = 5
	// grace is how long after a cause has gone nothing is asked.
	grace = 10
)

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
	before.name, before.to = "before", c.cause.from-settle
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
	ordinary      float64 // that could have been answered if nothing had gone wrong
	offered       int
}

func (s score) share() float64 {
	if s.possible == 0 {
		return 0
	}
	return float64(s.good) / s.possible
}

func (s *score) add(other score) {
	s.good += other.good
	s.refused += other.refused
	s.offered += other.offered
	s.possible += other.possible
	s.ordinary += other.ordinary
}

func (c cell) score(p phase, r *antagonist.Result) score {
	var s score
	for _, second := range r.Seconds[p.from:p.to] {
		s.good += second.Good
		s.refused += second.Refused
		s.offered += second.Offered
	}
	seconds := float64(p.to - p.from)
	s.possible = min(float64(s.offered)*(1-c.failing), p.capacity*seconds)
	s.ordinary = min(float64(s.offered)*(1-c.failing), c.capacity()*seconds)
	return s
}

// A verdict is how a cell came out, all its runs together.
type verdict struct {
	cell
	ours, plain []score // by phase
	back        int     // seconds from the end of the cause until ours is as good as plain, in the slowest run
	runs        int
}

// add adds a run.
func (v *verdict) add(ours, plain *antagonist.Result) {
	v.runs++
	phases := v.phases()
	if v.ours == nil {
		v.ours, v.plain = make([]score, len(phases)), make([]score, len(phases))
	}
	for i, p := range phases {
		v.ours[i].add(v.score(p, ours))
		v.plain[i].add(v.score(p, plain))
	}
	if v.cause.to > 0 {
		v.back = max(v.back, v.backAfter(ours, plain))
	}
}

// A rule is what is demanded of a cell.
type rule struct {
	less     float64 // of what can be answered, ours may be below plain
	edge     float64 // so many requests may be missing besides
	capacity float64 // share to be answered where plain collapses
	refused  float64 // share that one's own side may refuse below capacity
}

// theRule is what docs/TOGETHER.md says, judged over all runs of a cell.
var theRule = rule{less: 0.01, capacity: 0.9}

// clearly is the rule for a single run, which differs from the next by chance: of a few requests that are at work when
// a phase ends, and of the pauses that clients draw. Who breaks it in one world after the other has become worse.
func (c cell) clearly() rule {
	atWork := float64(c.permits + c.bucket)
	return rule{less: 0.05, edge: atWork, capacity: 0.8, refused: 0.02}
}

// faults says how a cell breaks a rule.
func (v verdict) faults(by rule) (faults []string) {
	for i, p := range v.phases() {
		o, n := v.ours[i], v.plain[i]
		name := p.name
		if name != "" {
			name += ": "
		}
		if missing := float64(n.good - o.good); missing > by.less*o.ordinary+by.edge {
			faults = append(faults, fmt.Sprintf("%s%.0f %% less than net/http", name, 100*missing/o.ordinary))
		}
		if p.load >= 1 && n.share() < by.capacity && o.share() < by.capacity {
			faults = append(faults, fmt.Sprintf("%s%.0f %% of capacity", name, 100*o.share()))
		}
		if p.calm && p.load < 1 && float64(o.refused) > by.refused*float64(o.offered) {
			faults = append(faults, fmt.Sprintf("%s%d of %d refused by their own side", name, o.refused, o.offered))
		}
	}
	return faults
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
