package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleIsAPoissonProcessThatRepeats(t *testing.T) {
	o := options{rate: 1000, healthy: 20 * time.Second, seed: 1}
	visits := schedule(o)
	require.Equal(t, visits, schedule(o))
	o.seed = 2
	require.NotEqual(t, visits, schedule(o))

	// 20 000 are expected, and their standard deviation is 141. The gaps of a
	// Poisson process vary as much as they last.
	require.InDelta(t, 20000, len(visits), 1000)
	counts := map[*page]int{}
	var last, sum, squares float64
	for _, v := range visits {
		gap := v.at.Seconds() - last
		require.GreaterOrEqual(t, gap, 0.0)
		last = v.at.Seconds()
		sum += gap
		squares += gap * gap
		counts[v.page]++
	}
	require.Less(t, last, 20.0)
	n := float64(len(visits))
	require.InDelta(t, 2, squares/n/(sum/n*sum/n), 0.2)
	total := 0
	for i := range pages {
		total += pages[i].share
		require.InDelta(t, float64(pages[i].share)/100, float64(counts[&pages[i]])/n, 0.02, pages[i].path)
	}
	require.Equal(t, 100, total)
}

// serving serves h until the test has ended.
func serving(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s, err := serve("127.0.0.1:0", h)
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// The server answers no page until all have been asked for: a load that waited for
// answers would not end.
func TestTheLoadDoesNotWaitForAnswers(t *testing.T) {
	const n = 50
	var arrived atomic.Int64
	all := make(chan struct{})
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == n {
			close(all)
		}
		<-all
	})
	var visits []visit
	for i := range n {
		visits = append(visits, visit{at: time.Duration(i) * ms, page: &pages[0]})
	}
	var ended atomic.Int64
	l := &load{
		url: s.url, patience: time.Minute, within: 30 * time.Second, clock: clock{time.Now()},
		ended: func(context.Context, answer) { ended.Add(1) },
	}
	answers := l.run(t.Context(), visits)
	require.Len(t, answers, n)
	for _, a := range answers {
		require.Equal(t, http.StatusOK, a.status)
		require.True(t, a.good(time.Minute))
		require.GreaterOrEqual(t, a.took+a.at, (n-1)*ms, "it was answered after the last was asked for")
	}
	require.EqualValues(t, n, l.asked.Load())
	require.EqualValues(t, n, l.good.Load())
	require.EqualValues(t, n, ended.Load())
	require.Zero(t, l.open.Load())
}

func TestAShopperGivesUp(t *testing.T) {
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	l := &load{
		url: s.url, patience: 20 * ms, within: 10 * ms, clock: clock{time.Now()},
		ended: func(context.Context, answer) {},
	}
	answers := l.run(t.Context(), []visit{{at: 0, page: &pages[0]}})
	require.Len(t, answers, 1)
	require.Zero(t, answers[0].status)
	require.GreaterOrEqual(t, answers[0].took, 20*ms)
	require.False(t, answers[0].good(time.Hour))
	require.Zero(t, l.good.Load())
}

// What the end of the run cuts off is no answer.
func TestTheEndOfTheRunIsNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	l := &load{
		url: s.url, patience: time.Hour, within: time.Minute, clock: clock{time.Now()},
		ended: func(_ context.Context, a answer) { t.Error("an answer:", a) },
	}
	require.Empty(t, l.run(ctx, []visit{{at: 0, page: &pages[0]}, {at: time.Hour, page: &pages[0]}}))
	require.EqualValues(t, 1, l.asked.Load())
}
