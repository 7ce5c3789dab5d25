package stabilityhttp

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Contract: 38
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "0", "120", "-1", "1.5", "99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Fri, 31 Dec 9999 23:59:59 GMT",
	} {
		f.Add(value, "", int64(0))
		f.Add(value, "Sun, 06 Nov 1994 08:49:37 GMT", int64(1<<62))
	}
	f.Fuzz(func(t *testing.T, value, date string, now int64) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		wait, ok := parseRetryAfter(h, time.Unix(now, 0))
		if ms, ok := parseRetryAfterMs(http.Header{RetryAfterMsHeader: {value}}); ms < 0 || ms > maxPushback || !ok && ms != 0 {
			t.Fatalf("%q: %v, %t", value, ms, ok)
		}
		if wait < 0 || wait > maxPushback || !ok && wait != 0 {
			t.Fatalf("%q: %v, %t", value, wait, ok)
		}
		if n, err := strconv.ParseUint(value, 10, 31); err == nil {
			if want := min(time.Duration(n)*time.Second, maxPushback); !ok || wait != want {
				t.Fatalf("%q: %v, %t", value, wait, ok)
			}
		}
		if ok {
			again, ok := parseRetryAfter(http.Header{"Retry-After": {strconv.FormatInt(ceilSeconds(wait), 10)}}, time.Time{})
			if !ok || again < wait || again-wait > time.Second {
				t.Fatalf("%q: %v is written and read as %v", value, wait, again)
			}
		}
	})
}

// Contract: 40
func FuzzDeadlineHeader(f *testing.F) {
	for _, value := range []string{"", "0", "250", "-1", "+1", "1e3", "99999999999999999999", " 7 ", "250, 100"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		left, ok := parseDeadline(value)
		if left < 0 || left > maxDeadline || !ok && left != 0 {
			t.Fatalf("%q: %v, %t", value, left, ok)
		}
		if n, err := strconv.ParseInt(value, 10, 32); err == nil && value[0] != '+' {
			if want := time.Duration(max(n, 0)) * time.Millisecond; !ok || left != want {
				t.Fatalf("%q: %v, %t", value, left, ok)
			}
		}
		if again, ok := parseDeadline(formatDeadline(left)); !ok || again != left {
			t.Fatalf("%q: %v is written and read as %v", value, left, again)
		}
		shortest, found := parseDeadlines([]string{value, "7"})
		if !found || shortest > 7*time.Millisecond || shortest < 0 || ok && shortest > left {
			t.Fatalf("%q and 7: %v, %t", value, shortest, found)
		}
		joined, _ := parseDeadlines([]string{value + ",7"})
		if joined != shortest {
			t.Fatalf("%q and 7: %v in two lines, %v in one", value, shortest, joined)
		}
	})
}

func FuzzRateLimitField(f *testing.F) {
	for _, value := range []string{
		"", `"default";r=50;t=30`, `"a";r=1;t=2, "b";r=0;t=60`, `("x" y);r=1, "a";r=0;t=1;pk=:YQ==:`, `limit=100, remaining=50`,
		`"\"\\";r=0;t=999999999999999`, `"a";r=1;b;c=?1;d=@-1;e=-1.5;f=*tok;g=%"x"`, `"a";r=1,`, `(((`,
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Ratelimit": {value}}
		limits := parseRateLimit(h)
		written := make([]string, len(limits))
		for i, l := range limits {
			if l.available < 0 || l.available > maxInteger || l.window < 0 || l.window > maxPushback {
				t.Fatalf("%q: %+v", value, l)
			}
			l.window = max(l.window, time.Second) // what is written always has one
			limits[i], written[i] = l, l.String()
		}
		again := parseRateLimit(http.Header{"Ratelimit": {strings.Join(written, ", ")}})
		if len(value) < maxFieldLen/4 { // else what is written may be too long to be read
			for i, l := range limits {
				if len(again) != len(limits) || again[i] != l {
					t.Fatalf("%q: %+v is written as %q and read as %+v", value, limits, written, again)
				}
			}
		}
		if wait, ok := pushback(h, time.Time{}); wait < 0 || wait > maxPushback || ok != (wait > 0) {
			t.Fatalf("%q: %v, %t", value, wait, ok)
		}
	})
}

// Contract: 31
func FuzzAttemptHeader(f *testing.F) {
	for _, value := range []string{"", "0", "1", "-1", "+1", "1e3", "99999999999999999999", " 7", "one"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		n := parseAttempt(value)
		if n < 0 || n > 1_000_000 {
			t.Fatalf("%q: %d", value, n)
		}
		if want, err := strconv.ParseUint(value, 10, 64); err == nil && n != int(min(want, 1_000_000)) || err != nil && n != 0 && strings.Trim(value, "0123456789") != "" {
			t.Fatalf("%q: %d", value, n)
		}
	})
}
