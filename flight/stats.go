package flight

import (
	"time"

	"github.com/crumplezone/stability"
)

// Stats is what [Flights] are doing and have done.
type Stats struct {
	// Calls is how the calls that were made ended, not what each caller got. None is
	// Rejected.
	stability.Calls
	Shared  int64          // callers who joined another's call
	Stale   int64          // callers who got a kept value
	Running int            // calls that have not returned
	Kept    int            // values kept for StaleIfError
	Mode    stability.Mode // in force
}

// Stats returns a reading of the moment.
func (f *Flights[T]) Stats() Stats {
	if f == nil {
		return Stats{}
	}
	// What is too old goes a little at a time, so that nobody waits for long.
	var running, kept int
	for more := true; more; {
		f.mu.Lock()
		more = f.kept.expire(time.Now())
		running, kept = f.running, f.kept.len()
		f.mu.Unlock()
	}
	return Stats{
		Calls:   f.tally.Calls(),
		Shared:  f.shared.Load(),
		Stale:   f.stale.Load(),
		Running: running,
		Kept:    kept,
		Mode:    f.live.Load().Mode,
	}
}
