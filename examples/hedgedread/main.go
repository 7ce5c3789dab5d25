// Hedgedread reads from two replicas that stall now and then, with one request for
// each read and with a second one to the other replica where the first is slow, and
// prints the tail of both.
//
//	go run ./examples/hedgedread
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/hedge"
)

const (
	reads      = 500
	readers    = 10
	stallEvery = 25
	stall      = 300 * time.Millisecond
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hedgedread:", err)
		os.Exit(1)
	}
}

var errNotCut = errors.New("the tail was not cut")

func run(ctx context.Context, w io.Writer) error {
	fmt.Fprintf(w, "%d reads from two replicas, each of which stalls for %v on one request in %d:\n\n", reads, stall, stallEvery)
	fmt.Fprintf(w, "%-12s %8s %8s %8s  %s\n", "", "p50", "p99", "max", "requests")

	single, err := measure(ctx, nil) // a nil Hedge makes every call once
	if err != nil {
		return err
	}
	single.print(w, "single")

	// It takes its delay from the latencies it has seen, within these bounds.
	hedged, err := measure(ctx, hedge.New(hedge.Config{Name: "replicas", MinDelay: 20 * time.Millisecond, MaxDelay: 50 * time.Millisecond}))
	if err != nil {
		return err
	}
	hedged.print(w, "hedged")

	if before, after := single.percentile(99), hedged.percentile(99); after > before/2 {
		return fmt.Errorf("p99 was %v single and %v hedged: %w", before, after, errNotCut)
	}
	return nil
}

// A replica is a server that stalls now and then.
type replica struct{ requests atomic.Int64 }

func (r *replica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.requests.Add(1)%stallEvery == 0 {
		select {
		case <-time.After(stall):
		case <-req.Context().Done(): // the other replica was first
			return
		}
	}
	fmt.Fprintln(w, "a profile")
}

// A tail is how long the reads took, in order, and how many requests they were.
type tail struct {
	took     []time.Duration
	requests int64
}

// measure makes the reads, a few at a time.
func measure(ctx context.Context, h *hedge.Hedge) (t tail, err error) {
	var replicas [2]replica
	var urls [2]string
	for i := range replicas {
		server := httptest.NewServer(&replicas[i])
		defer server.Close()
		urls[i] = server.URL
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()

	var mu sync.Mutex
	var group sync.WaitGroup
	for reader := range readers {
		group.Go(func() {
			for n := range reads / readers {
				began := time.Now()
				failed := read(ctx, h, client, urls, reader+n)
				took := time.Since(began)
				mu.Lock()
				t.took = append(t.took, took)
				if failed != nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(t.took)
	t.requests = replicas[0].requests.Load() + replicas[1].requests.Load()
	return t, err
}

// read asks the replicas in turns: the second request goes to the other one.
func read(ctx context.Context, h *hedge.Hedge, client *http.Client, urls [2]string, first int) error {
	var asked atomic.Int64
	_, err := hedge.Do(ctx, h, func(ctx context.Context) ([]byte, error) {
		url := urls[(first+int(asked.Add(1)))%len(urls)]
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	})
	return err
}

func (t tail) percentile(p int) time.Duration { return t.took[(len(t.took)-1)*p/100] }

func (t tail) print(w io.Writer, name string) {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }
	fmt.Fprintf(w, "%-12s %8s %8s %8s  %d\n", name, ms(t.percentile(50)), ms(t.percentile(99)), ms(t.percentile(100)), t.requests)
}
