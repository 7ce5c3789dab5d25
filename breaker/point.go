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
	switch s.Mode {
	case stability.ModeOpen:
		p.State = "forced_open"
	case stability.ModeOff:
		p.State = "forced_closed"
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
	cfg := s.config()
	limits := map[string]string{
		"failure_ratio": fmt.Sprint(cfg.FailureRatio),
		"min_calls":     fmt.Sprint(cfg.MinCalls),
		"window":        cfg.Window.String(),
		"open_for":      cfg.OpenFor.String(),
		"max_open_for":  cfg.MaxOpenFor.String(),
		"probes":        fmt.Sprint(cfg.Probes),
	}
	if cfg.SlowCall > 0 {
		limits["slow_call"] = cfg.SlowCall.String()
		limits["slow_ratio"] = fmt.Sprint(cfg.SlowRatio)
	}
	if cfg.Consecutive > 0 {
		limits["consecutive"] = fmt.Sprint(cfg.Consecutive)
	}
	if cfg.RampFor > 0 {
		limits["ramp_for"] = cfg.RampFor.String()
	}
	if cfg.Observe {
		limits["observe"] = "true"
	}
	return stability.Point{
		Limits:  limits,
		Calls:   t.tally.Calls(),
		Figures: map[string]float64{"observed_rejections": float64(t.observed.Load())},
	}
}
