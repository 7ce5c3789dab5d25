package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
)

const ms = time.Millisecond

// The kinds of page by whether they show recommendations.
var (
	withRecommendations    = &page{path: "/product", recommends: true}
	withoutRecommendations = &page{path: "/checkout"}
)

func TestPercentileIsExact(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * ms
	}
	for _, c := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{nil, 99, 0},
		{[]time.Duration{7 * ms}, 1, 7 * ms},
		{[]time.Duration{7 * ms}, 100, 7 * ms},
		{[]time.Duration{1 * ms, 2 * ms}, 50, 1 * ms},
		{[]time.Duration{1 * ms, 2 * ms}, 51, 2 * ms},
		{hundred, 0, 1 * ms},
		{hundred, 50, 50 * ms},
		{hundred, 99, 99 * ms},
		{hundred, 100, 100 * ms},
	} {
		require.Equal(t, c.want, percentile(c.sorted, c.p), "%v of %d", c.p, len(c.sorted))
	}
}

func TestShareIsRoundedDown(t *testing.T) {
	for want, s := range map[string]share{
		"–":        {},
		"0.00 %":   {0, 3},
		"66.66 %":  {2, 3},
		"99.99 %":  {99999, 100000},
		"100.00 %": {3, 3},
	} {
		require.Equal(t, want, s.String())
	}
	require.False(t, share{}.atLeast(0), "of nothing, nothing is known")
	require.True(t, share{199, 200}.atLeast(wantOthers))
	require.False(t, share{198, 200}.atLeast(wantOthers))
}

// A run with recommendations hanging from 10 s to 20 s.
func sampleResult() result {
	ok := func(at time.Duration, p *page, took time.Duration) answer {
		return answer{visit: visit{at: at, page: p}, took: took, status: 200}
	}
	degraded := func(at, took time.Duration) answer {
		a := ok(at, withRecommendations, took)
		a.degraded = true
		return a
	}
	return result{
		name: protected, hungAt: 10 * time.Second, backAt: 20 * time.Second, ended: 30 * time.Second, lag: 3 * ms,
		answers: []answer{
			ok(9999*ms, withRecommendations, 50*ms), // before
			ok(10*time.Second, withoutRecommendations, 10*ms),
			degraded(11*time.Second, 260*ms),
			ok(12*time.Second, withoutRecommendations, 1001*ms),                                           // too late
			{visit: visit{at: 13 * time.Second, page: withRecommendations}, took: 3 * time.Second},        // given up
			{visit: visit{at: 14 * time.Second, page: withoutRecommendations}, took: 5 * ms, status: 502}, // failed
			ok(20*time.Second, withoutRecommendations, 20*ms),                                             // after
			degraded(20500*ms, 20*ms), ok(22*time.Second, withRecommendations, 20*ms),
			ok(24*time.Second, withRecommendations, 20*ms),
		},
		calls: []call{
			{sent: 9 * time.Second, arrived: 9 * time.Second},
			{sent: 9999 * ms, arrived: 10001 * ms},
			{sent: 10500 * ms, arrived: 10600 * ms}, // before the breaker opened
			{sent: 12 * time.Second, arrived: 12 * time.Second},
			{sent: 20 * time.Second, arrived: 20 * time.Second},
		},
		changes: []change{
			{10550 * ms, breaker.Open}, {12 * time.Second, breaker.HalfOpen}, {12250 * ms, breaker.Open},
			{21500 * ms, breaker.HalfOpen}, {21510 * ms, breaker.Closed},
		},
		samples: []sample{
			{at: 1 * time.Second, goroutines: 100, memory: 5e6, pages: 3},
			{at: 11 * time.Second, goroutines: 300, memory: 4e6, pages: 2},
		},
	}
}

func sampleOptions() options {
	return options{
		rate: 1, healthy: 10 * time.Second, hang: 10 * time.Second, after: 10 * time.Second,
		within: time.Second, patience: 3 * time.Second, workers: 4,
	}
}

func TestFiguresOfARun(t *testing.T) {
	require.Equal(t, figures{
		Name: protected,
		Good: share{7, 10}, Lag: 3 * ms,
		Goroutines: 300, Memory: 5e6, Pages: 3,
		Hung: share{2, 5}, HungOthers: share{1, 3}, Degraded: 1,
		P50: 260 * ms, P99: 3 * time.Second, Max: 3 * time.Second,
		Reached: 3, Opened: true, AfterOpen: 1, Probes: 1,
		Recovery: 2 * time.Second, Recovered: true,
	}, measure(sampleResult(), sampleOptions()))
}

func TestFiguresOfARunCutShort(t *testing.T) {
	whole := sampleResult()
	before := result{name: whole.name, ended: 5 * time.Second}
	f := measure(before, sampleOptions())
	require.Equal(t, figures{Name: protected}, f)

	within := whole
	within.backAt, within.ended = 0, 12*time.Second
	f = measure(within, sampleOptions())
	require.Equal(t, share{2, 2}, f.Hung)
	require.Equal(t, 2, f.Reached)
	require.False(t, f.Recovered)
}

func TestRecovery(t *testing.T) {
	// A page every 10 ms, whole from the given one on.
	visits := func(n, whole int) []answer {
		var all []answer
		for i := range n {
			all = append(all, answer{
				visit: visit{at: time.Duration(i) * 10 * ms, page: withRecommendations},
				took:  ms, status: 200, degraded: i < whole,
			})
		}
		return all
	}
	for _, c := range []struct {
		name    string
		answers []answer
		back    time.Duration
		want    time.Duration
		known   bool
	}{
		{"nothing after", nil, 0, 0, false},
		{"at once", visits(300, 0), 0, 0, true},
		{"one in a hundred may be missing", visits(300, 50), 0, 490 * ms, true},
		{"counted from when they were back", visits(300, 50), 250 * ms, 240 * ms, true},
		{"pages before do not count", visits(300, 50), time.Second, 0, true},
		{"less than a second seen", visits(300, 250), 0, 0, false},
		{"never", visits(300, 300), 0, 0, false},
	} {
		got, known := recovery(c.answers, c.back, time.Second)
		require.Equal(t, c.known, known, c.name)
		require.Equal(t, c.want, got, c.name)
	}
}

func TestVerdict(t *testing.T) {
	held := figures{Name: protected, Hung: share{96, 100}, HungOthers: share{200, 200}, AfterOpen: 3, Probes: 3}
	for _, c := range []struct {
		name string
		edit func(*figures)
		want bool
	}{
		{"all held", func(*figures) {}, true},
		{"others failed", func(f *figures) { f.HungOthers.N = 198 }, false},
		{"pages failed", func(f *figures) { f.Hung.N = 94 }, false},
		{"calls passed the open breaker", func(f *figures) { f.AfterOpen = 4 }, false},
		{"nothing was asked for", func(f *figures) { f.HungOthers = share{} }, false},
	} {
		f := held
		c.edit(&f)
		bad := 0
		for _, check := range judge(f) {
			if !check.OK {
				bad++
			}
		}
		require.Equal(t, c.want, bad == 0, c.name)
		require.LessOrEqual(t, bad, 1, c.name)
	}

	require.Equal(t, "The protected run did NOT hold.", summarize(sampleOptions(), []result{sampleResult()}, false).Verdict())
	interrupted := summarize(sampleOptions(), []result{sampleResult()}, true)
	require.Empty(t, interrupted.Checks)
	require.Equal(t, "Interrupted: there is no verdict.", interrupted.Verdict())
}
