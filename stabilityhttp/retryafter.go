package stabilityhttp

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxPushback bounds what a server can ask for, so that no sum with it overflows.
// Nobody waits that long: what does not fit a deadline is not waited for at all.
const maxPushback = 365 * 24 * time.Hour

// pushback returns how long a response asks its client to stay away, and whether it
// does: its Retry-After-Ms, or else its Retry-After, or else its RateLimit field where
// nothing is left (draft-ietf-httpapi-ratelimit-headers-11, section 7). It is from 0 to
// maxPushback whatever the header says.
func pushback(h http.Header, now time.Time) (time.Duration, bool) {
	if wait, ok := parseRetryAfterMs(h); ok {
		return wait, true
	}
	if wait, ok := parseRetryAfter(h, now); ok {
		return wait, true
	}
	return exhaustedFor(h)
}

// pushbackRange returns how long a response asks its client to stay away at the least,
// and how much longer that can mean: fields that have whole seconds are rounded up.
func pushbackRange(h http.Header, now time.Time) (least, more time.Duration) {
	if wait, ok := parseRetryAfterMs(h); ok {
		return wait, 0
	}
	wait, ok := pushback(h, now)
	if !ok {
		return 0, 0
	}
	return wait - time.Second, time.Second
}

// parseRetryAfterMs reads the field [RetryAfterMsHeader]. Anything but digits is as if it
// were not there.
func parseRetryAfterMs(h http.Header) (time.Duration, bool) {
	values := h[RetryAfterMsHeader]
	if len(values) == 0 {
		return 0, false
	}
	return parseDigits(strings.Trim(values[0], " \t"), time.Millisecond, maxPushback)
}

// parseRetryAfter reads the field Retry-After (RFC 9110, section 10.2.3), seconds
// or a date in any of the three forms. A date is taken against the response's own
// Date where it has one, so that the clocks of both sides need not agree, and less the
// time that the response has spent in a cache since. One in the past is 0. Anything else, a negative number too, is as if it were not there.
func parseRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.Trim(h.Get("Retry-After"), " \t")
	if wait, ok := parseDigits(value, time.Second, maxPushback); ok {
		return wait, true
	}
	at, ok := parseDate(value)
	if !ok {
		return 0, false
	}
	if date, ok := parseDate(h.Get("Date")); ok {
		now = date.Add(age(h))
	}
	// Sub saturates where the difference is out of range.
	return min(max(at.Sub(now), 0), maxPushback), true
}

// age returns how long a response has spent in caches, as they say; 0: in none.
func age(h http.Header) time.Duration {
	age, _ := parseDigits(strings.Trim(h.Get("Age"), " \t"), time.Second, maxPushback)
	return age
}

// parseDate reads a date of HTTP. The longest has 33 bytes; of what is no date, package
// time keeps several copies for its errors, however long it is.
func parseDate(value string) (time.Time, bool) {
	if len(value) > 64 {
		return time.Time{}, false
	}
	at, err := http.ParseTime(value)
	return at, err == nil
}

// setRetryAfter tells a client to stay away for wait, or for a second where wait is 0:
// not known. Clients that are refused at the same moment and told the same time would
// come back together, and most of them be refused again. So each is told another one: up
// to half as much again, or a minute more, and in whole seconds up to one more at least.
func setRetryAfter(h http.Header, wait time.Duration) {
	if wait <= 0 {
		wait = time.Second
	}
	wait = min(wait, maxPushback)
	spread, share := min(wait/2, time.Minute), rand.Float64()
	seconds := ceilSeconds(wait) + int64(share*float64(ceilSeconds(spread)+1))
	wait += time.Duration(share * float64(spread))
	h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	h.Set(RetryAfterMsHeader, strconv.FormatInt(int64((wait+time.Millisecond-1)/time.Millisecond), 10))
}

// ceilSeconds is d in seconds, rounded up, and at least 1.
func ceilSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return max(s, 1)
}

// parseDigits reads a number of units that is written with digits only. One past
// the limit is the limit, however many digits it has.
func parseDigits(s string, unit, limit time.Duration) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n time.Duration
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+time.Duration(c-'0'), limit/unit)
	}
	return n * unit, true
}
