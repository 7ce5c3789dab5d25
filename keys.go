package stability

import (
	"errors"
	"fmt"
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

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil.
func (k Keys) Validate() error {
	var errs []error
	if k.Max < 0 {
		errs = append(errs, fmt.Errorf("Keys.Max (%d) must not be negative", k.Max))
	}
	if k.IdleFor < 0 {
		errs = append(errs, fmt.Errorf("Keys.IdleFor (%v) must not be negative", k.IdleFor))
	}
	return errors.Join(errs...)
}
