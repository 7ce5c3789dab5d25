package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// pause returns how long to wait before the attempt after the given one, the first
// being 1: what the dependency asked for, and after it the jittered pause. left is how
// long the call has until its deadline, or forever.
//
// Of what was asked for, the jitter gets a share: clients that were told the same would
// come back within a backoff of one another, which is nothing beside the wait. That share,
// and the backoff beside it, are cut to half of the time that the call has left then.
func (c *Config) pause(attempt int, asked, left time.Duration) time.Duration {
	longest := longestPause(c.Base, c.Max, attempt)
	if asked > 0 {
		spread := longest + min(asked/spreadShare, forever-longest)
		if left < forever {
			longest = max(min(spread, (left-asked)/2), 0)
		} else {
			longest = max(longest, min(spread, c.MaxPushback-asked))
		}
	}
	var d time.Duration
	if c.Jitter != nil {
		d = min(max(c.Jitter(longest), 0), longest)
	} else {
		d = time.Duration(rand.Uint64N(uint64(longest) + 1)) //nolint:gosec // longest is not negative, and d not above it.
	}
	if asked > forever-d {
		return forever
	}
	return asked + d
}

const (
	// spreadShare is how many times the spread of what was asked for that is.
	spreadShare = 2

	forever time.Duration = math.MaxInt64
)

// longestPause is base, doubled attempt-1 times, up to limit.
func longestPause(base, limit time.Duration, attempt int) time.Duration {
	doublings := attempt - 1
	// Compared by shifting limit down, in the end to 0: base shifted up may overflow.
	if base > limit>>doublings {
		return limit
	}
	return base << doublings
}
