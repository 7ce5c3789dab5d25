package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/stabilityhttp"
)

// A part is what a line needs of a client besides its defaults.
type part int

const (
	breakerPart  part = 1 << iota // opens after five failures in a row
	bulkheadPart                  // lets one request through at a time
	shortTimeout                  // a second for each attempt
)

// A client is one of a library, in a bubble, with a network of its own.
type client struct {
	*http.Client
	rt  http.RoundTripper
	net *network
	ctx context.Context // of all requests; it ends with the cell
}

// newClient returns a client of a library. The libraries are used as their
// documentation shows first: with a retry where they have one, and with a timeout.
//
//nolint:bodyclose // It takes what builds a policy for something that returns a response.
func newClient(column string, parts part, n *network) (http.RoundTripper, string) {
	wants := func(p part) bool { return parts&p != 0 }
	attempt := 10 * time.Second
	if wants(shortTimeout) {
		attempt = time.Second
	}
	switch column {
	case ours:
		cfg := stabilityhttp.TransportConfig{StallTimeout: attempt}
		if wants(breakerPart) {
			cfg.Breaker = breaker.Config{Consecutive: 5, OpenFor: time.Hour, MaxOpenFor: time.Hour}
		}
		if wants(bulkheadPart) {
			cfg.Bulkhead = bulkhead.Config{Limit: 1, Queue: 100, MaxWait: time.Second}
		}
		return stabilityhttp.NewTransport(n.transport, cfg), ""
	case failsafeGo:
		policies := []failsafe.Policy[*http.Response]{failsafehttp.NewRetryPolicyBuilder().WithBackoff(50*time.Millisecond, 2*time.Second).Build()}
		if wants(bulkheadPart) {
			policies = append(policies, failsafebulkhead.NewBuilder[*http.Response](1).WithMaxWaitTime(time.Second).Build())
		}
		if wants(breakerPart) {
			policies = append(policies, circuitbreaker.NewBuilder[*http.Response]().
				HandleIf(func(resp *http.Response, err error) bool { return err != nil || resp != nil && resp.StatusCode >= 500 }).
				WithFailureThreshold(5).WithDelay(time.Hour).Build())
		}
		policies = append(policies, failsafetimeout.New[*http.Response](attempt))
		return failsafehttp.NewRoundTripper(n.transport, policies...), ""
	case retryable:
		if wants(breakerPart | bulkheadPart) {
			return nil, absent
		}
		c := retryablehttp.NewClient()
		c.Logger = nil
		c.HTTPClient = &http.Client{Transport: n.transport, Timeout: attempt}
		return c.StandardClient().Transport, ""
	case netHTTP:
		if wants(breakerPart | bulkheadPart) {
			return nil, absent
		}
		return n.transport, ""
	}
	return nil, absent
}

// requests is a cell that asks a client.
func requests(parts part, cell func(t *testing.T, c *client) string) func(*testing.T, string) string {
	return func(t *testing.T, column string) string {
		return bubble(t, func(t *testing.T) string {
			n := newNetwork()
			rt, missing := newClient(column, parts, n)
			if missing != "" {
				return missing
			}
			ctx, cancel := context.WithCancel(t.Context())
			c := &client{rt: rt, net: n, ctx: ctx, Client: &http.Client{Transport: rt}}
			if column == netHTTP { // all the guard that it has
				c.Timeout = 10 * time.Second
			}
			defer func() {
				cancel()
				n.close()
				synctest.Wait()
			}()
			return cell(t, c)
		})
	}
}

// retries is requests for clients that make requests again.
func retries(cell func(t *testing.T, c *client) string) func(*testing.T, string) string {
	return func(t *testing.T, column string) string {
		if column == netHTTP {
			return absent
		}
		return requests(0, cell)(t, column)
	}
}

// A network is a transport whose connections, in memory, lead to the servers of its
// hosts. In it, time may be virtual.
type network struct {
	transport *http.Transport
	mu        sync.Mutex
	hosts     map[string]http.Handler // by address
	dials     map[string]int
	open      int // connections
	servers   []*http.Server
}

func newNetwork() *network {
	n := &network{hosts: map[string]http.Handler{}, dials: map[string]int{}}
	n.transport = &http.Transport{DialContext: n.dial, MaxIdleConnsPerHost: 10}
	return n
}

// serve has h answer what is sent to host. A nil h is a host that cannot be dialled.
func (n *network) serve(host string, h http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, host+":80")
	if h != nil {
		n.hosts[host+":80"] = h
	}
}

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials[address]++
	handler := n.hosts[address]
	if handler == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	near, far := net.Pipe()
	n.open++
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	n.servers = append(n.servers, server)
	go func() { _ = server.Serve(&once{conn: far, closed: make(chan struct{})}) }()
	return &counted{Conn: near, closed: func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
	}}, nil
}

func (n *network) opened() int {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

func (n *network) close() {
	n.transport.CloseIdleConnections()
	n.mu.Lock()
	servers := n.servers
	n.mu.Unlock()
	for _, s := range servers {
		_ = s.Close()
	}
}

// counted is a connection that tells when it is closed.
type counted struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *counted) Close() error { c.once.Do(c.closed); return c.Conn.Close() }

// once is a listener to which one connection comes.
type once struct {
	conn   net.Conn
	given  atomic.Bool
	shut   sync.Once
	closed chan struct{}
}

func (l *once) Accept() (net.Conn, error) {
	if !l.given.Swap(true) {
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *once) Close() error   { l.shut.Do(func() { close(l.closed) }); return nil }
func (l *once) Addr() net.Addr { return l.conn.LocalAddr() }

func (c *client) request(method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(c.ctx, method, url, body)
	if err != nil {
		panic(err)
	}
	return req
}

// fetch makes a request, reads what comes and closes it.
func (c *client) fetch(req *http.Request) (status int, body []byte, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (c *client) get(url string) (status int, body []byte, err error) {
	return c.fetch(c.request(http.MethodGet, url, nil))
}

const host = "http://a.test/"

var page = bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// unavailable answers 503 n times, then as next does.
func unavailable(n int, next http.HandlerFunc) (h http.HandlerFunc, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	return func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= int64(n) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(page[:1<<10])
			return
		}
		next(w, r)
	}, asked
}

// abort ends a response as a server does that dies.
func abort() { panic(http.ErrAbortHandler) }

var httpRows = []row{
	{33, "thirty requests, each answered 503 until it is given up, leave at most one connection", requests(0, func(_ *testing.T, c *client) string {
		always, _ := unavailable(1<<30, nil)
		c.net.serve("a.test", always)
		for range 30 {
			_, _, _ = c.get(host)
		}
		n := c.net.opened()
		return unless(n <= 1, "%d connections stay open", n)
	})},
	{33, "failures of one host leave the idle connections of another alone", requests(0, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", hello)
		c.net.serve("b.test", nil)
		_, _, _ = c.get(host)
		_, _, _ = c.get("http://b.test/")
		_, _, _ = c.get(host)
		return unless(c.net.dials["a.test:80"] == 1, "the other host is dialled again")
	})},
	{34, "a body of 1 MiB that trickles for five seconds arrives whole", requests(0, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 16 {
				_, _ = w.Write(page[i<<16 : (i+1)<<16])
				_ = http.NewResponseController(w).Flush()
				time.Sleep(300 * time.Millisecond)
			}
		})
		_, body, err := c.get(host)
		return unless(bytes.Equal(body, page), "%d bytes of it, and %v", len(body), err)
	})},
	{34, "bodies that are closed unread leave one connection at most", requests(0, closedUnread)},
	{34, "bodies that are closed unread give their permits back", requests(bulkheadPart, closedUnread)},
	{35, "bodies that are cut short open the breaker", requests(breakerPart, func(_ *testing.T, c *client) string {
		return c.opens(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			abort()
		})
	})},
	{35, "bodies that stall for longer than the timeout open the breaker", requests(breakerPart|shortTimeout, func(_ *testing.T, c *client) string {
		return c.opens(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Minute):
			}
		})
	})},
	{36, "the body of a PUT is sent again byte for byte, with its length", retries(func(_ *testing.T, c *client) string {
		var got []byte
		var length int64
		h, _ := unavailable(1, func(_ http.ResponseWriter, r *http.Request) {
			got, _ = io.ReadAll(r.Body)
			length = r.ContentLength
		})
		c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) {
			defer io.Copy(io.Discard, r.Body) //nolint:errcheck // A synchronous pipe has to be read.
			h(w, r)
		})
		sent := page[:100_000]
		_, _, err := c.fetch(c.request(http.MethodPut, host, bytes.NewReader(sent)))
		return unless(err == nil && bytes.Equal(got, sent) && length == int64(len(sent)), "%d bytes, announced as %d, of %d: %v", len(got), length, len(sent), err)
	})},
	{36, "an upload that streams is not buffered", requests(0, func(t *testing.T, c *client) string {
		arrived := make(chan struct{})
		c.net.serve("a.test", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1))
			close(arrived)
			_, _ = io.Copy(io.Discard, r.Body)
		})
		reader, writer := io.Pipe()
		streams := make(chan bool, 1)
		go func() {
			defer writer.Close()
			_, _ = writer.Write([]byte("first"))
			select {
			case <-arrived:
				streams <- true
			case <-time.After(5 * time.Second):
				streams <- false
			}
		}()
		_, _, _ = c.fetch(c.request(http.MethodPost, host, reader))
		return unless(<-streams, "nothing reaches the server before all is read")
	})},
	{37, "the request is not changed", requests(0, func(_ *testing.T, c *client) string {
		h, _ := unavailable(1, hello)
		c.net.serve("a.test", h)
		req := c.request(http.MethodPut, host, strings.NewReader("body"))
		header, body, url, ctx := req.Header.Clone(), req.Body, *req.URL, req.Context()
		if resp, err := c.rt.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		same := req.Body == body && *req.URL == url && req.Context() == ctx && maps.EqualFunc(req.Header, header, func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		return unless(same, "its body or its header is another one afterwards")
	})},
	{37, "the request's body is closed, also when the host cannot be dialled", requests(0, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		c.net.serve("b.test", nil)
		for _, url := range []string{host, "http://b.test/"} {
			var closed atomic.Bool
			body := &tracked{Reader: strings.NewReader("body"), closed: &closed}
			req := c.request(http.MethodPost, url, body)
			if resp, err := c.rt.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			synctest.Wait()
			if !closed.Load() {
				return "the body of a POST to " + url + " is not closed"
			}
		}
		return ""
	})},
	{37, "the request's body is closed when a breaker refuses", requests(breakerPart, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", nil)
		for range 10 {
			_, _, _ = c.get(host)
		}
		dials := c.net.dials["a.test:80"]
		var closed atomic.Bool
		_, err := c.rt.RoundTrip(c.request(http.MethodPost, host, &tracked{Reader: strings.NewReader("body"), closed: &closed})) //nolint:bodyclose // It is refused.
		if err == nil || c.net.dials["a.test:80"] != dials {
			return "it is not refused"
		}
		return unless(closed.Load(), "it is not closed")
	})},
	{37, "either a response or an error", requests(0, func(_ *testing.T, c *client) string {
		always, _ := unavailable(1<<30, nil)
		c.net.serve("a.test", always)
		c.net.serve("b.test", nil)
		for _, url := range []string{host, "http://b.test/"} {
			resp, err := c.rt.RoundTrip(c.request(http.MethodGet, url, nil))
			if resp != nil {
				resp.Body.Close()
			}
			if (resp == nil) == (err == nil) {
				return fmt.Sprintf("response %v and error %v", resp, err)
			}
		}
		return ""
	})},
	{37, "redirects and HEAD work", requests(0, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/there", http.StatusFound)
				return
			}
			w.Header().Set("Content-Length", "5")
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, "hello")
			}
		})
		status, body, err := c.get(host)
		if err != nil || status != http.StatusOK || string(body) != "hello" {
			return fmt.Sprintf("a GET that is redirected gives %d, %q, %v", status, body, err)
		}
		resp, err := c.Do(c.request(http.MethodHead, host, nil))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		return unless(resp.ContentLength == 5, "HEAD says a length of %d", resp.ContentLength)
	})},
	{37, "a connection can be upgraded (101)", requests(0, func(_ *testing.T, c *client) string {
		c.net.serve("a.test", func(w http.ResponseWriter, _ *http.Request) {
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := buffered.ReadString('\n')
			_, _ = io.WriteString(conn, line)
		})
		req := c.request(http.MethodGet, host, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := c.rt.RoundTrip(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		conn, writes := resp.Body.(io.ReadWriteCloser)
		if !writes {
			return "the body of the response cannot be written to"
		}
		_, _ = io.WriteString(conn, "ping\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		return unless(line == "ping\n", "%q, %v", line, err)
	})},
	{38, "Retry-After in seconds is waited for", retries(func(_ *testing.T, c *client) string {
		return c.waits("3", 3*time.Second, 10*time.Second)
	})},
	{38, "Retry-After as a date is waited for", retries(func(_ *testing.T, c *client) string {
		return c.waits(time.Now().Add(4*time.Second).UTC().Format(http.TimeFormat), 3*time.Second, 10*time.Second)
	})},
	{38, "Retry-After in the past, negative or garbage: an ordinary pause", retries(func(_ *testing.T, c *client) string {
		for _, value := range []string{"Mon, 02 Jan 1995 15:04:05 GMT", "-5", "soon", ""} {
			if observed := c.waits(value, 0, 5*time.Second); observed != "" {
				return fmt.Sprintf("%q: %s", value, observed)
			}
		}
		return ""
	})},
	{38, "Retry-After of an hour does not hold a caller whose deadline is in five seconds", retries(func(_ *testing.T, c *client) string {
		return c.returns("3600", 5*time.Second, 5*time.Second)
	})},
	{38, "Retry-After of a day does not hold a caller without a deadline", retries(func(_ *testing.T, c *client) string {
		return c.returns("86400", 0, time.Minute)
	})},
	{38, "Retry-After of more seconds than a number holds does not either", retries(func(_ *testing.T, c *client) string {
		return c.returns("99999999999999999999999", 0, time.Minute)
	})},
	{39, "a POST that is answered 503 is made once", requests(0, func(_ *testing.T, c *client) string {
		always, asked := unavailable(1<<30, nil)
		c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); always(w, r) })
		_, _, _ = c.fetch(c.request(http.MethodPost, host, strings.NewReader("an order")))
		n := asked.Load()
		return unless(n == 1, "the server sees it %d times", n)
	})},
	{39, "a POST whose connection dies before the answer is made once", requests(0, func(_ *testing.T, c *client) string {
		var asked atomic.Int64
		c.net.serve("a.test", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			asked.Add(1)
			abort()
		})
		_, _, _ = c.fetch(c.request(http.MethodPost, host, strings.NewReader("an order")))
		n := asked.Load()
		return unless(n == 1, "the server sees it %d times", n)
	})},
	{39, "a POST that could not be dialled is made again", retries(func(_ *testing.T, c *client) string {
		c.net.serve("a.test", nil)
		_, _, _ = c.fetch(c.request(http.MethodPost, host, strings.NewReader("an order")))
		return unless(c.net.dials["a.test:80"] > 1, "it is dialled once")
	})},
	{39, "a POST that is answered 429 is made again", retries(func(_ *testing.T, c *client) string {
		var asked atomic.Int64
		c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if asked.Add(1) == 1 {
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		status, _, err := c.fetch(c.request(http.MethodPost, host, strings.NewReader("an order")))
		return unless(status == http.StatusOK, "it ends in %d, %v", status, err)
	})},
}

// tracked is a body that tells when it is closed.
type tracked struct {
	io.Reader
	closed *atomic.Bool
}

func (b *tracked) Close() error { b.closed.Store(true); return nil }

// opens asks a server whose bodies fail, one request after another, and looks
// whether the breaker comes to refuse.
func (c *client) opens(h http.HandlerFunc) string {
	var asked atomic.Int64
	c.net.serve("a.test", func(w http.ResponseWriter, r *http.Request) { asked.Add(1); h(w, r) })
	const n = 20
	for range n {
		ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
		_, _, _ = c.fetch(c.request(http.MethodGet, host, nil).WithContext(ctx))
		cancel()
	}
	seen := asked.Load()
	return unless(seen < n, "all %d requests reach the server, whose every body fails", n)
}

// waits looks how long a client pauses when a server names a time to retry after.
func (c *client) waits(retryAfter string, atLeast, atMost time.Duration) string {
	var asked []time.Time
	c.net.serve("a.test", func(w http.ResponseWriter, _ *http.Request) {
		asked = append(asked, time.Now())
		if len(asked) == 1 {
			w.Header().Set("Retry-After", retryAfter)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	ctx, cancel := context.WithTimeout(c.ctx, time.Hour)
	defer cancel()
	_, _, err := c.fetch(c.request(http.MethodGet, host, nil).WithContext(ctx))
	c.net.transport.CloseIdleConnections()
	if len(asked) < 2 {
		return fmt.Sprintf("it is not made again: %v", err)
	}
	pause := asked[1].Sub(asked[0])
	return unless(pause >= atLeast && pause <= atMost, "the next attempt comes after %v", pause.Round(time.Second))
}

// returns looks when a request ends whose server names a time far ahead.
func (c *client) returns(retryAfter string, deadline, within time.Duration) string {
	c.net.serve("a.test", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	ctx := c.ctx
	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	start := time.Now()
	_, _, _ = c.fetch(c.request(http.MethodGet, host, nil).WithContext(ctx))
	took := time.Since(start)
	return unless(took <= within, "it comes back after %v", took.Round(time.Second))
}

// closedUnread closes bodies unread; with a bulkhead of one where there is one.
func closedUnread(_ *testing.T, c *client) string {
	c.net.serve("a.test", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	for range 5 {
		resp, err := c.Do(c.request(http.MethodGet, host, nil))
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
	}
	n := c.net.opened()
	return unless(n <= 1, "%d connections stay open", n)
}
