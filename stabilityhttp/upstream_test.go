package stabilityhttp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/stabilityhttp"
)

// upstream serves h on loopback and returns its URL.
func upstream(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// rawUpstream lets serve answer each connection on loopback, after the header of a
// first request was read from it. The connection is closed when serve returns.
func rawUpstream(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var wg sync.WaitGroup
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					serve(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// The faults of a raw upstream.
var (
	// hang accepts and says nothing.
	hang = func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	// reset breaks the connection off, with a RST and no FIN.
	reset = func(conn net.Conn) {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	// truncate promises more than it sends.
	truncate = func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
	}
	// truncateChunked leaves out the last chunk.
	truncateChunked = func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	}
	// resetBody breaks the connection off in the body.
	resetBody = func(conn net.Conn) {
		truncate(conn)
		reset(conn)
	}
	// hangBody stops in the midst of the body.
	hangBody = func(conn net.Conn) {
		truncate(conn)
		hang(conn)
	}
	// endlessHeaders never comes to the end of the header.
	endlessHeaders = func(conn net.Conn) {
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(conn, "X-More: of the same, and of the same, and of the same\r\n")
		}
	}
	// garbage is not HTTP.
	garbage = func(conn net.Conn) { _, _ = io.WriteString(conn, "\x16\x03\x01 what?\r\n\r\n") }
	// badGzip says that the body is gzip, and it is not.
	badGzip = func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\ngarbage")
	}
)

// refusing returns the URL of a port on which nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

// newClient returns a client whose connections are its own, and the Transport in
// it. At the end of the test nothing of it must be left.
func newClient(t testing.TB, cfg stabilityhttp.TransportConfig) (*http.Client, *stabilityhttp.Transport) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) }) // after the cleanups of the upstreams
	rt := stabilityhttp.NewTransport(nil, cfg)
	t.Cleanup(rt.CloseIdleConnections)
	return &http.Client{Transport: rt}, rt
}

// gatesOnly is a config without retries and without waiting.
var gatesOnly = stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry}

func get(t testing.TB, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	return do(c, newRequest(t, http.MethodGet, url, nil))
}

func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	require.NoError(t, err)
	return req
}

func do(c *http.Client, req *http.Request) (*http.Response, error) { return c.Do(req) }

// key is the key of a URL's gates.
func key(t testing.TB, url string) string {
	t.Helper()
	return stabilityhttp.HostPort(newRequest(t, http.MethodGet, url, nil))
}

// requireCalls checks what the gates of the URL's host made of the calls to it, and
// that nothing is taken any more.
func requireCalls(t testing.TB, rt *stabilityhttp.Transport, url string, want stability.Calls) {
	t.Helper()
	gates := rt.Gates(key(t, url))
	require.Equal(t, want, gates.Breaker.Stats().Calls, "breaker")
	require.Equal(t, want, gates.Bulkhead.Stats().Calls, "bulkhead")
	require.Zero(t, gates.Bulkhead.Stats().InUse, "permits in use")
}

// memory is a network in the memory of a synctest bubble.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// serveInMemory has s serve a network of its own in the bubble.
func serveInMemory(t testing.TB, s *http.Server) *memory {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(m)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return m
}

// memoryUpstream serves h in the bubble and returns the base transport that
// reaches it whatever the URL.
func memoryUpstream(t testing.TB, h http.HandlerFunc) *http.Transport {
	t.Helper()
	m := serveInMemory(t, &http.Server{Handler: h}) //nolint:gosec // Its clients are this test's.
	base := &http.Transport{DialContext: m.dial}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Addr implements [net.Listener].
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }
