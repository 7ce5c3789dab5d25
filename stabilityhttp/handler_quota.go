package stabilityhttp

import (
	"net/http"
	"time"

	"github.com/crumplezone/stability/ratelimit"
)

// The fields count in whole seconds, and a client that keeps to them must not fall
// behind the rate for it: times are rounded up, and the quota is what is earned in
// them. Ten a second with a burst of one is ten in one second, not one; and nothing is
// left only where the next token is a second away, or more.

// setQuota tells a client what its limiter has left for it.
func setQuota(h http.Header, name string, s ratelimit.Stats) {
	available := int64(s.Tokens)
	if available <= 0 {
		due := earned(s, 1-s.Tokens)
		if due >= time.Second {
			setLimit(h, s, serviceLimit{name, 0, due})
			return
		}
		available = 1
	}
	quota, window := within(s, available)
	setLimit(h, s, serviceLimit{name, quota, window})
}

// setExhausted tells a client that its limiter has nothing left for it now, and when to
// come back: where the limiter does not know (0), when the next token is due. That
// nothing is left within a second is only said where it is so: a token that is due in
// 5ms is not a second away.
func setExhausted(h http.Header, name string, s ratelimit.Stats, wait time.Duration) {
	if wait == 0 {
		wait = earned(s, 1)
	}
	setRetryAfter(h, wait)
	if wait < time.Second {
		quota, window := within(s, 1)
		setLimit(h, s, serviceLimit{name, quota, window})
		return
	}
	setLimit(h, s, serviceLimit{name, 0, min(wait, maxPushback)})
}

func setLimit(h http.Header, s ratelimit.Stats, l serviceLimit) {
	quota, window := within(s, int64(s.Burst))
	h.Set("RateLimit-Policy", quotaPolicy{l.name, quota, window}.String())
	h.Set("RateLimit", l.String())
}

// within returns the whole seconds in which so many tokens are earned, and how many are
// earned in them.
func within(s ratelimit.Stats, tokens int64) (int64, time.Duration) {
	window := time.Duration(ceilSeconds(earned(s, float64(tokens)))) * time.Second
	return max(tokens, int64(min(s.Rate*window.Seconds(), maxInteger))), window
}

// earned is how long a bucket takes to earn so many tokens.
func earned(s ratelimit.Stats, tokens float64) time.Duration {
	return time.Duration(min(tokens/s.Rate*float64(time.Second), float64(maxPushback)))
}
