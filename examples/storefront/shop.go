package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/stabilityhttp"
)

// A page is a kind of page of the storefront.
type page struct {
	path       string
	share      int      // of all pages, in percent
	needs      []string // the upstreams without which there is no page
	recommends bool     // whether it also shows recommendations, where there are any
}

// Half the pages show recommendations. The other half has nothing to do with
// them, and should not notice when they hang.
var pages = []page{
	{path: "/product", share: 35, needs: []string{inventory, pricing}, recommends: true},
	{path: "/home", share: 15, needs: []string{pricing}, recommends: true},
	{path: "/search", share: 30, needs: []string{inventory, pricing}},
	{path: "/checkout", share: 20, needs: []string{inventory, pricing}},
}

const (
	sentHeader     = "Storefront-Sent"     // on a call to an upstream: what the clock read before its guards
	degradedHeader = "Storefront-Degraded" // on a page: what it had to do without
)

// A shop is the storefront's handler. The two runs differ in the RoundTrippers
// of its clients and in nothing else: in both it gives the request's context to
// its calls, and in both a page goes out without recommendations when they fail.
type shop struct {
	urls    map[string]string       // of the upstreams, by name
	clients map[string]*http.Client // for the upstreams, by name
	without *fallback.Fallback      // for pages without recommendations
	workers chan struct{}
	clock   clock
	pages   atomic.Int64 // worked on, or waiting for a worker
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.pages.Add(1)
	defer s.pages.Add(-1)
	select {
	case s.workers <- struct{}{}:
		defer func() { <-s.workers }()
	case <-r.Context().Done():
		return
	}
	for _, p := range pages {
		if p.path == r.URL.Path {
			s.serve(w, r, p)
			return
		}
	}
	http.NotFound(w, r)
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request, p page) {
	parts := make(map[string]json.RawMessage)
	for _, name := range p.needs {
		part, err := s.call(r.Context(), name)
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
		parts[name] = part
	}
	if p.recommends {
		part, degraded, err := fallback.Do(r.Context(), s.without,
			func(ctx context.Context) (json.RawMessage, error) { return s.call(ctx, recommendations) }, bestsellers)
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
		if degraded != nil {
			w.Header().Set(degradedHeader, recommendations)
		}
		parts[recommendations] = part
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(parts) //nolint:errcheck // Only a shopper who has left makes it fail.
}

// bestsellers stand in for recommendations.
func bestsellers(context.Context, error) (json.RawMessage, error) {
	return json.RawMessage(`{"from":"bestsellers"}`), nil
}

// call asks an upstream for its part of a page.
func (s *shop) call(ctx context.Context, name string) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.urls[name], nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(sentHeader, strconv.FormatInt(int64(s.clock.now()), 10))
	resp, err := s.clients[name].Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, resp.Status)
	}
	return body, nil
}
