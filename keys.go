package stability

import (
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability/internal/keyed"
)

// OverflowKey is the Key of a refusal by a member that a Group shares among keys past its
// bound. As a key that a Group is asked for it is one like all others.
const OverflowKey = keyed.OverflowKey

// Keys bounds the members of a Group, which keeps one policy for each key. The
// zero Keys is valid. A key of more than 256 bytes is kept, and shown, as its beginning and
// its SHA-256.
type Keys struct {
	// Max is how many keys have a member of their own at the most. When all places are
	// taken, a new key gets that of a member which was not asked for in IdleFor and
	// refuses nothing at present, or which would lose nothing by being forgotten.
	//
	// Where there is no such member, the new key shares a further one with others. There
	// are 16 of these, and a hash with a seed of the Group's own decides which: what one
	// key uses up is lost to a sixteenth of the keys past the bound. A breaker that is
	// shared so only watches and refuses nothing. Stats of a Group say how often a key
	// found no room. A limit holds for each member: a key that comes to have its own, or
	// ceases to, may have calls with both for a while.
	//
	// Default 1024.
	Max int
	// IdleFor is how long a member is kept that nobody asks for. It goes then, or up to a
	// quarter of IdleFor and the time to look at all members later, if it would lose
	// nothing by it; what refuses nothing at present goes when the place is needed. What
	// refuses calls (an open breaker, an empty bucket), has calls under way, or was changed
	// by a method such as SetLimit is kept for as long as that is so. Default 15m.
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
