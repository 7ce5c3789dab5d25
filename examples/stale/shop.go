package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/timeout"
)

// How long the breaker leaves the service alone. It is short so that the program is.
const openFor = 500 * time.Millisecond

// A shop asks a service for its prices.
type shop struct {
	client  *http.Client
	url     string
	guard   stability.Policy
	flights *flight.Flights[string]
	instead *fallback.Fallback
}

func newShop(url string) *shop {
	return &shop{
		client: &http.Client{Transport: &http.Transport{}},
		url:    url,
		guard: stability.Chain(
			breaker.New(breaker.Config{Name: "prices", Consecutive: 3, OpenFor: openFor}),
			timeout.New(timeout.Config{Name: "prices", After: time.Second}),
		),
		flights: flight.New[string](flight.Config{Name: "prices", StaleIfError: time.Minute, Classify: classify}),
		instead: fallback.New(fallback.Config{Name: "prices"}),
	}
}

// price returns what to show for a product, and where that is not the price of this
// moment, why. All who ask for one product at the same time make one request.
func (s *shop) price(ctx context.Context, product string) (string, *stability.Degraded, error) {
	var stale *stability.Degraded
	price, degraded, err := fallback.Do(ctx, s.instead,
		func(ctx context.Context) (price string, err error) {
			price, stale, err = s.flights.Do(ctx, product, func(ctx context.Context) (string, error) {
				return stability.Do(ctx, s.guard, func(ctx context.Context) (string, error) { return s.fetch(ctx, product) })
			})
			return price, err
		},
		func(context.Context, error) (string, error) { return "ask us", nil })
	if degraded == nil {
		degraded = stale
	}
	return price, degraded, err
}

// fetch asks the service.
func (s *shop) fetch(ctx context.Context, product string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/"+product, nil)
	if err != nil {
		return "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", statusError(resp.StatusCode)
	}
	price, err := io.ReadAll(resp.Body)
	return string(price), err
}

// A statusError is what the service answered in place of a price.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// classify takes for an answer, in whose place no price of yesterday is shown, what says
// that there is none, or none for us: 404, 410, 401, 403 and their like.
func classify(ctx context.Context, err error) stability.Outcome {
	if status, ok := errors.AsType[statusError](err); ok && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		return stability.Success
	}
	return stability.Classify(ctx, err)
}
