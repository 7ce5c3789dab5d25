package bulkhead

import (
	"time"

	"github.com/crumplezone/stability"
)

// Stats is what a [Bulkhead] is doing and has done.
type Stats struct {
	stability.Calls
	Limit      int // permits
	InUse      int // permits in use; above Limit for a while after it was lowered
	Queued     int // calls waiting
	QueueLimit int // calls that may wait
	// Work is how long half of the calls took at most that succeeded lately or ran out of
	// time; for one of these, twice the time that it had. 0: unknown, and of a [Group].
	// Calls are timed where there is a queue and at least an eighth of the permits are in
	// use, and count for ten seconds or eight times as long as they took.
	Work time.Duration
	// Observed is how many calls found no permit while nothing was refused.
	Observed int64
	Mode     stability.Mode // in force

	// Overflowed is how often Get of a [Group] found no room for a key; 0 of a member.
	Overflowed int64
}

// Stats returns a reading of the moment. It does not block callers for longer than
// it takes to read.
func (b *Bulkhead) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	s := b.now()
	others := b.tally.Calls()
	others.Succeeded += s.Succeeded
	s.Calls = others
	s.Observed, s.Mode = b.observed.Load(), b.live.Load().Mode
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Work = b.work.typical(time.Since(epoch))
	return s
}

// now is Stats without what tally counts, and without Work.
func (b *Bulkhead) now() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Shelves cannot be read at one instant: a permit that wanders from one to the next
	// would be seen on both, and one that is held all the time on none.
	b.reclaim()
	w := b.word.Load()
	return Stats{
		Calls:      stability.Calls{Succeeded: int64(b.succeeded + w/success)}, //nolint:gosec // It would take centuries.
		Limit:      b.capacity(),
		InUse:      int(w & permits),
		Queued:     b.queue.len,
		QueueLimit: b.live.Config().Queue,
	}
}
