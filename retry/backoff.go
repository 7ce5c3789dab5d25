package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// pause returns how long to wait before the attempt after the given one, the first
// being 1: the jittered pause, after what the dependency asked for.
func (r *Retry) pause(attempt int, asked time.Duration) time.Duration {
	longest := longestPause(r.cfg.Base, r.cfg.Max, attempt)
	var d time.Duration
	if r.cfg.Jitter != nil {
		d = min(max(r.cfg.Jitter(longest), 0), longest)
	} else {
		d = time.Duration(rand.Uint64N(uint64(longest) + 1)) //nolint:gosec // longest is not negative, and d not above it.
	}
	if asked > math.MaxInt64-d {
		return math.MaxInt64
	}
	return asked + d
}

// longestPause is base, doubled attempt-1 times, up to limit.
func longestPause(base, limit time.Duration, attempt int) time.Duration {
	doublings := attempt - 1
	// Compared by shifting limit down, in the end to 0: base shifted up may overflow.
	if base > limit>>doublings {
		return limit
	}
	return base << doublings
}
