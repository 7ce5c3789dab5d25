package stabilityhttp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// One line guards an http.Client that is there already.
func ExampleNewTransport() {
	attempts := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if attempts++; attempts < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "7 left")
	}))
	defer upstream.Close()
	client := &http.Client{}

	client.Transport = stabilityhttp.NewTransport(client.Transport, stabilityhttp.TransportConfig{Name: "inventory"})

	resp, err := client.Get(upstream.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err, "after", attempts, "attempts")
	// Output: 7 left <nil> after 3 attempts
}

// Every part can be configured, and left out.
func ExampleNewClient() {
	client := stabilityhttp.NewClient(stabilityhttp.TransportConfig{
		Name:         "inventory",
		Timeout:      2 * time.Second,
		StallTimeout: 500 * time.Millisecond,
		Retry:        retry.Config{Attempts: 2},
		Hedge:        &hedge.Config{Percentile: 0.99},
		Bulkhead:     bulkhead.Config{Limit: 20},
		Off:          stabilityhttp.PartDeadlineHeader,
	})
	defer client.CloseIdleConnections()
}

// Each host has a breaker of its own. Its refusal is an error like others, and can
// be told from them.
func ExampleTransport_Gates() {
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer sick.Close()
	healthy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer healthy.Close()
	transport := stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{
		Breaker: breaker.Config{Consecutive: 5},
	})
	client := &http.Client{Transport: transport}
	get := func(url string) {
		resp, err := client.Get(url)
		var refusal *stability.Rejection
		switch {
		case errors.As(err, &refusal):
			fmt.Println("refused by the", refusal.Policy)
		case err != nil:
			fmt.Println(err)
		default:
			resp.Body.Close()
			fmt.Println(resp.Status)
		}
	}

	for range 6 {
		get(sick.URL)
	}
	get(healthy.URL)
	host := sick.Listener.Addr().String()
	fmt.Println("the breaker of the sick one is", transport.Gates(host).Breaker.State())
	// Output:
	// 500 Internal Server Error
	// 500 Internal Server Error
	// 500 Internal Server Error
	// 500 Internal Server Error
	// 500 Internal Server Error
	// refused by the breaker
	// 200 OK
	// the breaker of the sick one is open
}

// Figures are plain values; OpenTelemetry gets the same.
func ExampleTransport_Stats() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer upstream.Close()
	transport := stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{})
	client := &http.Client{Transport: transport}
	for range 3 {
		resp, err := client.Get(upstream.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("under way:", transport.Stats().Bulkhead.InUse)
		resp.Body.Close()
	}
	stats := transport.Stats()
	fmt.Println("requests:", stats.Retry.Started(), "attempts:", stats.Retry.Attempts, "under way:", stats.Bulkhead.InUse)
	// Output:
	// under way: 1
	// under way: 1
	// under way: 1
	// requests: 3 attempts: 3 under way: 0
}
