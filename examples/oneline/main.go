// Oneline asks a server that fails now and then, with an http.Client as it is and
// with the one line that guards it.
//
//	go run ./examples/oneline
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"

	"github.com/crumplezone/stability/stabilityhttp"
)

const (
	requests  = 100
	failEvery = 10
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oneline:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if arrived.Add(1)%failEvery == 0 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "7 umbrellas left")
	}))
	defer server.Close()

	client := &http.Client{}
	defer func() { client.CloseIdleConnections() }()

	plain := ask(ctx, client, server.URL)
	plainArrived := arrived.Swap(0)

	client.Transport = stabilityhttp.NewTransport(client.Transport, stabilityhttp.TransportConfig{})

	guarded := ask(ctx, client, server.URL)
	guardedArrived := arrived.Load()

	fmt.Fprintf(w, "%d requests to a server that fails one in %d:\n\n", requests, failEvery)
	fmt.Fprintf(w, "%-24s %8s  %s\n", "", "answered", "reached the server")
	fmt.Fprintf(w, "%-24s %8d  %d\n", "http.Client", plain, plainArrived)
	fmt.Fprintf(w, "%-24s %8d  %d\n", "with the one line", guarded, guardedArrived)

	switch {
	case plain == requests:
		return errors.New("the server did not fail: nothing is shown")
	case guarded < requests:
		return fmt.Errorf("the guarded client got %d answers to %d requests", guarded, requests)
	}
	return nil
}

// ask makes the requests one after another and returns how many were answered.
func ask(ctx context.Context, client *http.Client, url string) (answered int) {
	for range requests {
		if get(ctx, client, url) == nil {
			answered++
		}
	}
	return answered
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
