package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/stabilityhttp"
)

// Hops are the way of a request: the client at the top, A, B and the leaf C, each a
// server on loopback that the one before calls with a client of its own.
type hops struct {
	client   stabilityhttp.TransportConfig // of the top, of A and of B
	guarded  bool                          // A and B take up attempt and deadline
	leaf     http.Handler
	patience time.Duration // of the top; 0: the client's Timeout
}

// send makes the requests at the same time and returns how many were answered with
// 200, when no server has anything more to do.
func (h hops) send(ctx context.Context, requests int, method, body string) (answered int64) {
	c := httptest.NewServer(h.leaf)
	defer c.Close()
	bClient, b := h.tier(c.URL)
	defer b.Close()
	defer bClient.CloseIdleConnections()
	aClient, a := h.tier(b.URL)
	defer a.Close()
	defer aClient.CloseIdleConnections()
	top := stabilityhttp.NewClient(h.client)
	defer top.CloseIdleConnections()

	var ok atomic.Int64
	var group sync.WaitGroup
	for range requests {
		group.Go(func() {
			ctx := ctx
			if h.patience > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, h.patience)
				defer cancel()
			}
			if call(ctx, top, method, a.URL, []byte(body)) == nil {
				ok.Add(1)
			}
		})
	}
	group.Wait()
	// The callers have their answers, but C may still be at work.
	c.Close()
	return ok.Load()
}

// tier starts a server that answers what the one at url answers. What goes wrong there it
// passes on as what it is, so that nobody takes the overload of C for an outage of A.
func (h hops) tier(url string) (*http.Client, *httptest.Server) {
	client := stabilityhttp.NewClient(h.client)
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the order did not come whole", http.StatusBadRequest)
			return
		}
		if err := call(r.Context(), client, r.Method, url, body); err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
		}
	})
	if h.guarded {
		handler = stabilityhttp.NewHandler(handler, stabilityhttp.HandlerConfig{})
	}
	return client, httptest.NewServer(handler)
}

func call(ctx context.Context, client *http.Client, method, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req) //nolint:gosec // To the next tier, on loopback.
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	return stabilityhttp.ResponseError(resp)
}
