package breaker

import (
	"fmt"

	"github.com/crumplezone/stability"
)

// point is what a breaker is listed as among the points of a process.
func (b *Breaker) point() stability.Point {
	s := b.Stats()
	p := b.describe(&b.totals)
	p.State = s.State.String()
	if s.Mode != Auto {
		p.State = s.Mode.String()
	}
	p.Figures["opened"] = float64(s.Opened)
	p.Figures["probing"] = float64(s.Probing)
	p.Figures["window_successes"] = float64(s.Window.Successes)
	p.Figures["window_failures"] = float64(s.Window.Failures)
	p.Figures["window_slow"] = float64(s.Window.Slow)
	return p
}

// point is what a group is listed as: its state counts its members that are not
// closed.
func (g *Group) point() stability.Point {
	p := g.describe(g.sum)
	in := g.inStates()
	for _, state := range states {
		p.Keys += int(in[state])
		p.Figures[state.String()] = float64(in[state])
	}
	p.State = Closed.String()
	if n := in[Open] + in[HalfOpen]; n > 0 {
		p.State = fmt.Sprintf("%d of %d not closed", n, p.Keys)
	}
	p.Figures["overflowed"] = float64(g.members.Overflowed())
	return p
}

func (s *settings) describe(t *totals) stability.Point {
	limits := map[string]string{
		"failure_ratio": fmt.Sprint(s.cfg.FailureRatio),
		"min_calls":     fmt.Sprint(s.cfg.MinCalls),
		"window":        s.cfg.Window.String(),
		"open_for":      s.cfg.OpenFor.String(),
		"max_open_for":  s.cfg.MaxOpenFor.String(),
		"probes":        fmt.Sprint(s.cfg.Probes),
	}
	if s.cfg.SlowCall > 0 {
		limits["slow_call"] = s.cfg.SlowCall.String()
		limits["slow_ratio"] = fmt.Sprint(s.cfg.SlowRatio)
	}
	if s.cfg.Consecutive > 0 {
		limits["consecutive"] = fmt.Sprint(s.cfg.Consecutive)
	}
	if s.cfg.RampFor > 0 {
		limits["ramp_for"] = s.cfg.RampFor.String()
	}
	if s.cfg.Observe {
		limits["observe"] = "true"
	}
	return stability.Point{
		Limits:  limits,
		Calls:   t.tally.Calls(),
		Figures: map[string]float64{"observed_rejections": float64(t.observed.Load())},
	}
}
