package hedge

import (
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// Stats is what a [Hedge] is doing and has done.
type Stats struct {
	stability.Calls               // one for each use of the hedge, however many calls it made; none is Rejected
	Hedges          int64         // calls made beside a first one
	Won             int64         // of them, those whose value was taken
	Suppressed      int64         // calls that were not made beside a slow one because the budget was spent
	Delay           time.Duration // how long a call may take at present before another one is made; the longest of all keys
	// Budget is the budget that pays, with all that share it.
	Budget retry.BudgetStats
	Mode   stability.Mode // in force
}

// Stats returns a reading of the moment.
func (h *Hedge) Stats() Stats {
	if h == nil {
		return Stats{}
	}
	now := h.live.Load()
	return Stats{
		Calls:      h.tally.Calls(),
		Hedges:     h.started.Load(),
		Won:        h.won.Load(),
		Suppressed: h.suppressed.Load(),
		Delay:      h.longest(&now.Config),
		Budget:     now.Config.Budget.Stats(),
		Mode:       now.Mode,
	}
}
