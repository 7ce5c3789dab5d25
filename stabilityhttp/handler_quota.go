package stabilityhttp

import (
	"net/http"
	"time"

	"github.com/crumplezone/stability/ratelimit"
)

// setQuota tells a client what its limiter has left for it.
func setQuota(h http.Header, name string, s ratelimit.Stats) {
	available := max(int64(s.Tokens), 0)
	window := earned(s, float64(available))
	if available == 0 {
		window = earned(s, 1-s.Tokens)
	}
	setLimit(h, s, serviceLimit{name, available, window})
}

// setExhausted tells a client that its limiter has nothing left for it, and when to
// come back: not before it has, and where the limiter does not know (0) when the next
// token is due.
func setExhausted(h http.Header, name string, s ratelimit.Stats, wait time.Duration) {
	if wait == 0 {
		wait = earned(s, 1)
	}
	wait = min(wait, maxPushback)
	h.Set("Retry-After", formatRetryAfter(wait))
	setLimit(h, s, serviceLimit{name, 0, wait})
}

func setLimit(h http.Header, s ratelimit.Stats, l serviceLimit) {
	h.Set("RateLimit-Policy", quotaPolicy{l.name, int64(s.Burst), earned(s, float64(s.Burst))}.String())
	h.Set("RateLimit", l.String())
}

// earned is how long a bucket takes to earn so many tokens.
func earned(s ratelimit.Stats, tokens float64) time.Duration {
	return time.Duration(min(tokens/s.Rate*float64(time.Second), float64(maxPushback)))
}
