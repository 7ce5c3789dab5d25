package retry

import "github.com/crumplezone/stability"

// Stats is what a [Retry] has done.
type Stats struct {
	stability.Calls // one for each call, however many attempts it took; none is Rejected
	// Attempts is how many attempts were made, the first of each call included. The
	// first counts when the call has ended, a further one when it starts.
	Attempts   int64
	Exhausted  int64 // calls given up with ErrExhausted
	OverBudget int64 // calls given up with ErrBudget
	OutOfTime  int64 // calls given up with ErrDeadline, or because their deadline had passed
	PushedBack int64 // calls given up with ErrPushback
	Refused    int64 // calls given up with ErrRefused
	// Budget is the budget that pays, with all that share it.
	Budget BudgetStats
	Mode   stability.Mode // in force
}

// Stats returns a reading of the moment.
func (r *Retry) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	calls, now := r.tally.Calls(), r.live.Load()
	return Stats{
		Calls:      calls,
		Attempts:   calls.Started() + r.retries.Load(),
		Exhausted:  r.exhausted.Load(),
		OverBudget: r.overBudget.Load(),
		OutOfTime:  r.outOfTime.Load(),
		PushedBack: r.pushedBack.Load(),
		Refused:    r.refused.Load(),
		Budget:     now.Config.Budget.Stats(),
		Mode:       now.Mode,
	}
}
