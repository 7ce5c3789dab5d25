package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/crumplezone/stability/breaker"
)

func newStage(t *testing.T, sd side, workers int) *stage {
	t.Helper()
	st, err := setStage(options{workers: workers}, sd, noop.NewMeterProvider(), clock{time.Now()})
	require.NoError(t, err)
	t.Cleanup(st.clear)
	return st
}

// visitPage asks the storefront for a page.
func visitPage(ctx context.Context, st *stage, path string) (status int, degraded bool) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	return get(ctx, &http.Client{Transport: transport}, st.front.url+path)
}

func TestPages(t *testing.T) {
	st := newStage(t, side{guard: unguarded}, 4)
	for _, p := range pages {
		status, degraded := visitPage(t.Context(), st, p.path)
		require.Equal(t, http.StatusOK, status, p.path)
		require.False(t, degraded, p.path)
	}
	status, _ := visitPage(t.Context(), st, "/nowhere")
	require.Equal(t, http.StatusNotFound, status)
	require.Len(t, st.upstreams[recommendations].arrivals(), 2, "of pages that show them")
	require.Len(t, st.upstreams[inventory].arrivals(), 3)
	require.Len(t, st.upstreams[pricing].arrivals(), 4)
}

// halfGuarded guards the calls to recommendations only, so that no other call has
// a time limit that a busy machine might miss.
func halfGuarded(upstream string, base http.RoundTripper, to sinks) http.RoundTripper {
	if upstream == recommendations {
		return guarded(upstream, base, to)
	}
	return base
}

// Guarded or not, a page does without recommendations that fail, and not without
// prices that do.
func TestPagesOfUpstreamsThatAreGone(t *testing.T) {
	for _, guard := range []func(string, http.RoundTripper, sinks) http.RoundTripper{unguarded, halfGuarded} {
		st := newStage(t, side{guard: guard}, 4)
		st.upstreams[recommendations].close()
		status, degraded := visitPage(t.Context(), st, "/home")
		require.Equal(t, http.StatusOK, status)
		require.True(t, degraded)
		st.upstreams[pricing].close()
		status, _ = visitPage(t.Context(), st, "/checkout")
		require.Equal(t, http.StatusBadGateway, status)
	}
}

// Unprotected, a page whose recommendations hang holds its worker, and the page
// behind it waits, until the shopper leaves or recommendations are back.
func TestAHangHoldsTheWorkerOfAnUnprotectedPage(t *testing.T) {
	st := newStage(t, side{guard: unguarded}, 1)
	sick := st.upstreams[recommendations]
	arrived := make(chan struct{}, 2)
	st.shop.urls[recommendations] = serving(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		sick.ServeHTTP(w, r)
	}).url
	sick.hang()
	require.True(t, sick.isHung())

	first, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { visitPage(first, st, "/home") })
	<-arrived
	require.Len(t, st.shop.workers, 1)
	statuses := make(chan int, 2)
	wg.Go(func() {
		status, _ := visitPage(t.Context(), st, "/home")
		statuses <- status
	})
	leave()
	<-arrived // The second has the worker now.
	wg.Go(func() {
		status, _ := visitPage(t.Context(), st, "/checkout")
		statuses <- status
	})
	require.Empty(t, statuses)
	sick.recover()
	require.Equal(t, http.StatusOK, <-statuses)
	require.Equal(t, http.StatusOK, <-statuses)
	wg.Wait()
	require.False(t, sick.isHung())
}

// passing counts the calls that reach it.
type passing struct {
	http.RoundTripper
	calls atomic.Int64
}

func (p *passing) RoundTrip(req *http.Request) (*http.Response, error) {
	p.calls.Add(1)
	return p.RoundTripper.RoundTrip(req)
}

// Protected, every page comes, and when the breaker has opened only probes are let
// through to recommendations. They are counted behind the guard: where they arrive, a
// call that was given up may still be on its way.
func TestAHangCostsAProtectedPageItsRecommendationsOnly(t *testing.T) {
	through := &passing{}
	st := newStage(t, side{guard: func(upstream string, base http.RoundTripper, to sinks) http.RoundTripper {
		if upstream == recommendations {
			through.RoundTripper = base
			base = through
		}
		return halfGuarded(upstream, base, to)
	}}, 32)
	sick := st.upstreams[recommendations]
	sick.hang()
	opened := func() bool {
		for _, c := range st.breakerChanges() {
			if c.to == breaker.Open {
				return true
			}
		}
		return false
	}
	visit := func() {
		status, degraded := visitPage(t.Context(), st, "/home")
		if status != http.StatusOK || !degraded {
			t.Errorf("status %d, degraded %v", status, degraded)
		}
	}
	for !opened() {
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(visit)
		}
		wg.Wait()
	}
	before := through.calls.Load()
	for range 20 {
		visit()
	}
	probes := int64(0)
	for _, c := range st.breakerChanges() {
		if c.to == breaker.HalfOpen {
			probes++
		}
	}
	require.LessOrEqual(t, through.calls.Load()-before, probes)
}

// An upstream tells who calls it without saying when.
func TestACallWithoutItsInstantIsRefused(t *testing.T) {
	st := newStage(t, sides[0], 1)
	status, _ := get(t.Context(), &http.Client{Transport: st.transport}, st.upstreams[pricing].url)
	require.Equal(t, http.StatusBadRequest, status)
}
