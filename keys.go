package stability

import (
	"errors"
	"time"
)

// OverflowKey is the Key of the member that a Group shares among the keys past
// its bound.
const OverflowKey = "_overflow"

// Keys bounds the members of a Group, which keeps one policy for each key. The
// zero Keys is valid.
type Keys struct {
	// Max is how many members are kept at the most. Past it, a member that would
	// lose nothing by being forgotten makes room; where there is none, new keys
	// share one further member, [OverflowKey]. A limit holds for each member: a key
	// that comes to be one, or ceases to be, may have calls with both for a while.
	// Default 1024.
	Max int
	// IdleFor is how long a member is kept that nobody asks for. One that would
	// lose something (an open breaker, a permit in use, an empty bucket) is kept
	// for as long as that is so. Default 15m.
	IdleFor time.Duration
}

// Validate reports the first field that is not usable.
func (k Keys) Validate() error {
	switch {
	case k.Max < 0:
		return errors.New("Keys.Max must not be negative")
	case k.IdleFor < 0:
		return errors.New("Keys.IdleFor must not be negative")
	}
	return nil
}
