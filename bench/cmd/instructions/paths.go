package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// A path is a way through the library that is to stay short.
type path struct {
	name  string
	setup func() func() // returns one call
	fewer int           // by how much fewer calls do, since one takes many instructions; 0: none
	// peer is the name of another path, of which this one may take most times the
	// instructions.
	peer string
	most float64
}

var errCall = errors.New("the call's own error")

func ok(context.Context) error     { return nil }
func failed(context.Context) error { return errCall }

const timeoutClient = "HTTP GET, http.Client{Timeout}"

// paths are the hot ones. They import nothing but the library and net/http, so that no
// other peer's goroutine is counted with them.
var paths = append([]path{
	{name: "breaker, closed, success", setup: func() func() { return through(breaker.New(breaker.Config{}), ok) }},
	{name: "breaker, closed, failure", setup: func() func() {
		return through(breaker.New(breaker.Config{MinCalls: 1 << 30}), failed)
	}},
	{name: "breaker, slow calls watched", setup: func() func() { return through(breaker.New(breaker.Config{SlowCall: time.Hour}), ok) }},
	{name: "breaker, open, refusal", setup: func() func() {
		b := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Hour})
		_ = b.Run(context.Background(), failed)
		return through(b, ok)
	}},
	{name: "bulkhead, free", setup: func() func() { return through(newBulkhead(), ok) }},
	{name: "bulkhead, full, refusal", setup: func() func() {
		b := bulkhead.New(bulkhead.Config{Limit: 1})
		_, _ = b.Enter(context.Background())
		return through(b, ok)
	}},
	{name: "rate limit, granted", setup: func() func() {
		l := newLimiter()
		return func() { l.Allow() }
	}},
	{name: "rate limit, granted, around a call", setup: func() func() { return through(newLimiter(), ok) }},
	{name: "rate limit, refused", setup: func() func() {
		l := ratelimit.New(ratelimit.Config{Rate: 1e-3, Burst: 1})
		l.Allow()
		return func() { l.Allow() }
	}},
	{name: "timeout, in time", setup: func() func() { return through(newTimeout(), ok) }},
	{name: "retry, first attempt succeeds", setup: func() func() { return through(retry.New(retry.Config{}), ok) }},
	{name: "a breaker of a group", setup: func() func() {
		g, ctx := breaker.NewGroup(breaker.Config{}, stability.Keys{}), context.Background()
		return func() { _ = g.Get("eu-1").Run(ctx, ok) }
	}},
	{name: "limit + bulkhead + breaker, chained", setup: func() func() {
		return through(stability.Gates(newLimiter(), newBulkhead(), breaker.New(breaker.Config{})), ok)
	}},
	{name: "retry + breaker + limit + bulkhead + timeout", setup: func() func() {
		return through(stability.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{}), newLimiter(), newBulkhead(), newTimeout()), ok)
	}},
	{name: timeoutClient, fewer: 50, setup: func() func() {
		return get(&http.Client{Transport: base(), Timeout: 30 * time.Second})
	}},
	// Half of what it takes more is net/http writing two header fields, the deadline and the
	// attempt. On a real connection the system takes about as much again, for both.
	{name: "HTTP GET, guarded", fewer: 50, peer: timeoutClient, most: 1.13, setup: func() func() {
		return get(&http.Client{Transport: stabilityhttp.NewTransport(base(), stabilityhttp.TransportConfig{})})
	}},
}, hostile()...)

// base is the standard transport on a wire.
func base() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return &wire{asked: make(chan struct{}, 1)}, nil
	}
	return t
}

// A wire is a connection to nobody: each request is answered with the same bytes. So
// neither a server is counted nor what it takes to wait for one, which varies.
type wire struct {
	net.Conn
	asked chan struct{}
}

const hello = "hello"

var (
	answer = []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + hello)
	end    = []byte("\r\n\r\n")
)

// Write implements [net.Conn]. A request without a body ends with an empty line.
func (w *wire) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, end) {
		w.asked <- struct{}{}
	}
	return len(p), nil
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	<-w.asked
	return copy(p, answer), nil
}

// Close implements [net.Conn].
func (w *wire) Close() error { return nil }

// get is a request of client and reading its answer to the end.
func get(client *http.Client) func() {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://upstream.test/", nil)
	if err != nil {
		panic(err)
	}
	return func() {
		resp, err := client.Do(req.WithContext(req.Context())) //nolint:gosec // It goes nowhere.
		if err != nil {
			panic(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(hello)) {
			panic(err)
		}
		_ = resp.Body.Close()
	}
}

func newBulkhead() *bulkhead.Bulkhead { return bulkhead.New(bulkhead.Config{Limit: 1000}) }
func newLimiter() *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Config{Rate: 1e9, Burst: 1 << 30})
}
func newTimeout() *timeout.Timeout { return timeout.New(timeout.Config{After: time.Hour}) }

func through(p stability.Policy, fn func(context.Context) error) func() {
	ctx := context.Background()
	return func() { _ = p.Run(ctx, fn) }
}
