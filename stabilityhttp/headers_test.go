package stabilityhttp

import (
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, time.May, 23, 12, 0, 0, 0, time.UTC)

// Contract: 38
func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		value string
		wait  time.Duration
		ok    bool
	}{
		{"0", 0, true},
		{"120", 2 * time.Minute, true},
		{" \t7 ", 7 * time.Second, true},
		{"007", 7 * time.Second, true},
		{"86400", 24 * time.Hour, true},
		{"99999999999", maxPushback, true},
		{strings.Repeat("9", 5000), maxPushback, true},
		{"9223372036854775808", maxPushback, true},

		{"Sat, 23 May 2026 12:00:30 GMT", 30 * time.Second, true}, // IMF-fixdate
		{"Saturday, 23-May-26 12:00:30 GMT", 30 * time.Second, true},
		{"Sat May 23 12:00:30 2026", 30 * time.Second, true}, // asctime
		{"Sat, 23 May 2026 12:00:00 GMT", 0, true},
		{"Sat, 23 May 2026 11:59:59 GMT", 0, true},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", maxPushback, true},

		{"", 0, false},
		{"-1", 0, false},
		{"-9223372036854775808", 0, false},
		{"+5", 0, false},
		{"1.5", 0, false},
		{"1e9", 0, false},
		{"0x10", 0, false},
		{"5, 10", 0, false},
		{"5 s", 0, false},
		{"soon", 0, false},
		{"٣", 0, false}, // a digit, but not one of ASCII
		{"Sat, 23 May 2026 12:00:30 CEST", 0, false},
		{"Sat, 99 May 2026 12:00:30 GMT", 0, false},
		{"2026-05-23T12:00:30Z", 0, false},
	} {
		wait, ok := parseRetryAfter(http.Header{"Retry-After": {c.value}}, noon)
		require.Equal(t, c.ok, ok, "%q", c.value)
		require.Equal(t, c.wait, wait, "%q", c.value)
	}
	_, ok := parseRetryAfter(nil, noon)
	require.False(t, ok, "no field")
}

// Contract: 38
func TestRetryAfterIsTakenAgainstTheServersClock(t *testing.T) {
	h := http.Header{
		"Retry-After": {"Sat, 23 May 2026 15:00:30 GMT"},
		"Date":        {"Sat, 23 May 2026 15:00:00 GMT"}, // three hours ahead of ours
	}
	wait, ok := parseRetryAfter(h, noon)
	require.True(t, ok)
	require.Equal(t, 30*time.Second, wait)

	h.Set("Date", "yesterday")
	wait, ok = parseRetryAfter(h, noon)
	require.True(t, ok)
	require.Equal(t, 3*time.Hour+30*time.Second, wait, "a Date that is none: our own clock")
}

// A 503 out of a cache has the Date at which the server wrote it. Who took a date in
// Retry-After, or a window, from there waited once more for what was over since: for an
// hour, where it had been an hour in the cache.
//
// Contract: 38
func TestPushbackOutOfACache(t *testing.T) {
	date := "Sat, 23 May 2026 12:00:00 GMT"
	in90s := "Sat, 23 May 2026 12:01:30 GMT"
	for _, c := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{"Retry-After": {in90s}, "Date": {date}, "Age": {"60"}}, 30 * time.Second},
		{http.Header{"Retry-After": {in90s}, "Date": {date}, "Age": {"3600"}}, 0},
		{http.Header{"Retry-After": {in90s}, "Date": {date}, "Age": {"99999999999999999999"}}, 0},
		{http.Header{"Retry-After": {in90s}, "Date": {date}, "Age": {"-60"}}, 90 * time.Second},
		{http.Header{"Retry-After": {in90s}, "Age": {"60"}}, 90 * time.Second},                // against our own clock
		{http.Header{"Retry-After": {"90"}, "Date": {date}, "Age": {"60"}}, 90 * time.Second}, // from when it came
		{http.Header{"Ratelimit": {`"a";r=0;t=90`}, "Age": {"60"}}, 30 * time.Second},
		{http.Header{"Ratelimit": {`"a";r=0;t=90`}, "Age": {"3600"}}, 0},
	} {
		wait, ok := pushback(c.header, noon)
		require.True(t, ok, "%v: it is overload all the same", c.header)
		require.Equal(t, c.want, wait, "%v", c.header)
	}
}

// What is said is never too early, nor so late that nobody would come back, and clients
// that are refused at the same moment are told times that lie apart.
//
// Contract: 52
func TestSetRetryAfter(t *testing.T) {
	for _, wait := range []time.Duration{
		math.MinInt64, -time.Second, 0, 1, 5 * time.Millisecond, time.Second, time.Second + 1, 90 * time.Second, time.Hour, math.MaxInt64,
	} {
		want := min(wait, maxPushback)
		if wait <= 0 {
			want = time.Second
		}
		seconds, exact := map[time.Duration]int{}, map[time.Duration]int{}
		for range 1000 {
			h := http.Header{}
			setRetryAfter(h, wait)
			precise, ok := pushback(h, noon)
			require.True(t, ok)
			h.Del(RetryAfterMsHeader)
			rough, ok := pushback(h, noon)
			require.True(t, ok)
			exact[precise]++
			seconds[rough]++
			if want < maxPushback { // past it, what is read is bounded
				require.GreaterOrEqual(t, precise, want)
				require.GreaterOrEqual(t, rough, want)
			}
			require.LessOrEqual(t, precise, want+min(want/2, time.Minute)+time.Millisecond)
			require.Less(t, rough, want+min(want/2, time.Minute)+3*time.Second)
		}
		if want < maxPushback {
			for _, n := range seconds {
				require.Less(t, n, 600, "%v: %v", wait, seconds)
			}
		}
		if want >= time.Second && want < maxPushback {
			require.Greater(t, len(exact), 300, wait)
		}
	}
}

// Contract: 38
func TestRetryAfterMs(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"250": 250 * time.Millisecond, " 250\t": 250 * time.Millisecond, "0": 0, strings.Repeat("9", 5000): maxPushback,
		"": 7 * time.Second, "-1": 7 * time.Second, "2.5": 7 * time.Second, "soon": 7 * time.Second, "1, 2": 7 * time.Second,
	} {
		wait, ok := pushback(http.Header{RetryAfterMsHeader: {value}, "Retry-After": {"7"}}, noon)
		require.True(t, ok)
		require.Equal(t, want, wait, "%q", value)
	}
	_, ok := pushback(http.Header{RetryAfterMsHeader: nil}, noon)
	require.False(t, ok)
}

// Contract: 40
func TestDeadlineHeader(t *testing.T) {
	for _, c := range []struct {
		value string
		left  time.Duration
		ok    bool
	}{
		{"250", 250 * time.Millisecond, true},
		{" 250\t", 250 * time.Millisecond, true},
		{"0", 0, true},
		{"-0", 0, true},
		{"-1", 0, true},
		{"-99999999999999999999999", 0, true},
		{"99999999999999999999999", maxDeadline, true},
		{strings.Repeat("9", 5000), maxDeadline, true},

		{"", 0, false},
		{"-", 0, false},
		{"--1", 0, false},
		{"+1", 0, false},
		{"1.5", 0, false},
		{"1s", 0, false},
		{"250, 100", 0, false},
		{"NaN", 0, false},
		{"1 0", 0, false},
	} {
		left, ok := parseDeadline(c.value)
		require.Equal(t, c.ok, ok, "%q", c.value)
		require.Equal(t, c.left, left, "%q", c.value)
	}
	for left, want := range map[time.Duration]string{
		math.MinInt64:                      "0",
		-time.Second:                       "0",
		time.Millisecond - 1:               "0",
		time.Millisecond:                   "1",
		time.Second + 999*time.Microsecond: "1000",
		math.MaxInt64:                      "9223372036854",
	} {
		require.Equal(t, want, formatDeadline(left), left)
	}
}

func TestRateLimitField(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  []serviceLimit
	}{
		{[]string{`"default";r=50;t=30`}, []serviceLimit{{"default", 50, 30 * time.Second}}},
		{[]string{`"default";r=999;pk=:dHJpYWwxMjEzMjM=:`}, []serviceLimit{{"default", 999, 0}}},
		{[]string{`"a";r=1;t=2, "b";r=0;t=60`}, []serviceLimit{{"a", 1, 2 * time.Second}, {"b", 0, time.Minute}}},
		{[]string{`"a";r=1`, `"b";r=2`}, []serviceLimit{{"a", 1, 0}, {"b", 2, 0}}},
		{[]string{`  "a";r=1 	, 	"b";r=2  `}, []serviceLimit{{"a", 1, 0}, {"b", 2, 0}}},
		{[]string{`"a";r=1;r=3`}, []serviceLimit{{"a", 3, 0}}},
		{[]string{`"a";  r=1;acme-note="x;y";beta;c=?0;d=@1659578233;e=1.25;f=tok/en;g=%"f%c3%bc"`}, []serviceLimit{{"a", 1, 0}}},
		{[]string{`"say \"hi\" \\";r=1`}, []serviceLimit{{`say "hi" \`, 1, 0}}},
		{[]string{`("in" "ner";x=1);r=5, (), ( tok ), "a";r=1`}, []serviceLimit{{"a", 1, 0}}},
		{[]string{`"a";r=999999999999999;t=999999999999999`}, []serviceLimit{{"a", 999_999_999_999_999, maxPushback}}},

		// Well-formed, but not all there.
		{[]string{`"a";t=5`}, nil},
		{[]string{`token;r=5`}, nil},
		{[]string{`"a";r=-1`}, nil},
		{[]string{`"a";r=1.0`}, nil},
		{[]string{`"a";r="1"`}, nil},
		{[]string{`"a";r`}, nil},
		{[]string{`"a";r=1;t=-5`}, []serviceLimit{{"a", 1, 0}}},
		{[]string{``}, nil},
		{nil, nil},

		// Malformed: as if it were not there.
		{[]string{`limit=100, remaining=50, reset=5`}, nil}, // revision 07 and before
		{[]string{`"a";r=1,`}, nil},
		{[]string{`"a";r=1,,"b";r=2`}, nil},
		{[]string{`"a";r=1 "b";r=2`}, nil},
		{[]string{`"a`}, nil},
		{[]string{`"a\`}, nil},
		{[]string{`"a\n";r=1`}, nil},
		{[]string{"\"\u00e4\";r=1"}, nil},
		{[]string{`"a";R=1`}, nil},
		{[]string{`"a";`}, nil},
		{[]string{`"a";r=`}, nil},
		{[]string{`"a";r=-`}, nil},
		{[]string{`"a";r=1.`}, nil},
		{[]string{`"a";r=1.2345`}, nil},
		{[]string{`"a";r=1;e=1234567890123.1`}, nil},
		{[]string{`"a";r=1000000000000000`}, nil},
		{[]string{`"a";r=1, ("b"`}, nil},
		{[]string{`"a";r=1, ("b""c")`}, nil},
		{[]string{`"a";r=1, ("b"`, `"c")`}, nil},
		{[]string{`"a";r=1;c=?2`}, nil},
		{[]string{`"a";r=1;c=@x`}, nil},
		{[]string{`"a";r=1;c=:a`}, nil},
		{[]string{`"a";r=1;c=%x`}, nil},
		{[]string{`"a";r=1` + strings.Repeat(" ", maxFieldLen)}, nil},
	} {
		require.Equal(t, c.want, parseRateLimit(http.Header{"Ratelimit": c.lines}), "%q", c.lines)
	}
}

func TestRateLimitFieldsAsWritten(t *testing.T) {
	require.Equal(t, `"default";q=100;w=10`, quotaPolicy{"default", 100, 10 * time.Second}.String())
	require.Equal(t, `"a\"b\\c??";q=0;w=1`, quotaPolicy{"a\"b\\cä\n", -4, 0}.String())
	require.Equal(t, `"x";q=999999999999999;w=2`, quotaPolicy{"x", math.MaxInt64, time.Second + 1}.String())
	require.Equal(t, `"default";r=50;t=30`, serviceLimit{"default", 50, 29*time.Second + 1}.String())

	items, ok := parseList([]string{quotaPolicy{"default", 100, 10 * time.Second}.String()})
	require.True(t, ok)
	require.Len(t, items, 1)
	q, _ := items[0].integer("q")
	w, _ := items[0].integer("w")
	require.Equal(t, []int64{100, 10}, []int64{q, w})
}

// Contract: 38
func TestPushback(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		wait   time.Duration
		ok     bool
	}{
		{http.Header{}, 0, false},
		{http.Header{"Retry-After": {"3"}, "Ratelimit": {`"a";r=0;t=60`}}, 3 * time.Second, true},
		{http.Header{"Retry-After": {"never"}, "Ratelimit": {`"a";r=0;t=60`}}, time.Minute, true},
		{http.Header{"Ratelimit": {`"a";r=0;t=5, "b";r=0;t=60, "c";r=1;t=600`}}, time.Minute, true},
		{http.Header{"Ratelimit": {`"a";r=1;t=60`}}, 0, false},
		{http.Header{"Ratelimit": {`"a";r=0`}}, 0, false},
		{http.Header{"Ratelimit": {`"a";r=0;t=60,`}}, 0, false},
	} {
		wait, ok := pushback(c.header, noon)
		require.Equal(t, c.ok, ok, c.header)
		require.Equal(t, c.wait, wait, c.header)
	}
}

// A response with 800 KB of fields cost its client 18 MiB of heap: package time kept each
// of them several times for errors that nobody reads, and lines were joined before their
// length was looked at. What is too long to be one of the fields is not looked into.
//
// Contract: 38
func TestHostileFieldSizes(t *testing.T) {
	long := strings.Repeat("9 ", 100<<10)
	for name, h := range map[string]http.Header{
		"a date":        {"Retry-After": {long}},
		"its date":      {"Retry-After": {"Sat, 23 May 2026 12:00:30 GMT"}, "Date": {long}},
		"milliseconds":  {RetryAfterMsHeader: {long}},
		"a list":        {"Ratelimit": {`"a";r=0;t=1,` + long}},
		"lines":         {"Ratelimit": slices.Repeat([]string{`"a";r=0;t=1`}, 20_000)},
		"empty lines":   {"Ratelimit": make([]string, 200_000)},
		"long names":    {"Ratelimit": {`"` + strings.Repeat("a", 200_000) + `";r=0;t=1`}},
		"deadlines":     {DeadlineHeader: {strings.Repeat(",1", 100<<10)}},
		"addresses":     {"X-Forwarded-For": {strings.Repeat("1", 200<<10)}},
		"one too many":  {"X-Forwarded-For": {strings.Repeat(",", 200<<10)}},
		"all addresses": {"X-Forwarded-For": slices.Repeat([]string{"192.0.2.1"}, 20_000)},
	} {
		least := uint64(math.MaxUint64)
		for range 3 { // something else may allocate meanwhile
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = pushback(h, noon)
			_, _ = parseDeadlines(h[DeadlineHeader])
			_ = ClientIPBehind(1_000_000)(&http.Request{Header: h})
			_ = ClientIPBehind(1)(&http.Request{Header: h})
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		require.Less(t, least, uint64(64<<10), name)
	}
}
