//go:build !race

// The race detector makes sync.Pool forget, which costs allocations that are not
// there without it.

package stabilityhttp_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// frugal answers every request on a connection and allocates nothing for it.
func frugal(conn net.Conn) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Write(answer); err != nil {
			return
		}
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")); {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
		}
	}
}

// All guards together allocate no more than the one timeout that net/http has: whatever
// the request's URL is, its header, and the context that it is made in. What the caller
// makes for the request is counted for both. The exception is a deadline of the caller's
// that comes before the Timeout, with which net/http's timeout does nothing at all: ours
// still ends an attempt that stalls before, tells the server of the deadline, and gives back
// what an unread response holds when the context ends.
func TestAllocations(t *testing.T) {
	url := rawUpstream(t, frugal)
	background := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	with := func(key, value string) http.Header { return http.Header{key: {value}} }
	many := http.Header{}
	for _, name := range []string{"Accept", "Accept-Language", "Authorization", "Cookie", "Traceparent", "Tracestate", "User-Agent", "X-Request-Id"} {
		many.Set(name, "some value")
	}
	for _, row := range []struct {
		name    string
		url     string
		header  http.Header
		context func() (context.Context, context.CancelFunc)
		more    float64 // than net/http's
	}{
		{"host and port", url, nil, background, 0},
		{"no port", "http://upstream.test/path", nil, background, 0},
		{"a long host without a port", "http://the-inventory.of-a-shop.in-a-region.upstream.test/path", nil, background, 0},
		{"a host in upper case", "http://Upstream.Test/path", nil, background, 0},
		{"header fields", url, with("Accept", "text/plain"), background, 0},
		{"eight header fields", url, many, background, 0},
		{"a deadline field of another client's", url, with("X-Request-Timeout-Ms", "1"), background, 0},
		{"a context that can end", url, nil, func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.Background())
		}, 0},
		{"a context with values that can end", url, nil, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			return context.WithValue(ctx, &url, url), cancel
		}, 0},
		{"a deadline after the Timeout", url, nil, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Minute)
		}, 0},
		{"a deadline before the Timeout", url, nil, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 10*time.Second)
		}, 7},
		{"a deadline before the Timeout, a value and no port", "http://upstream.test/path", with("Accept", "text/plain"), func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			return context.WithValue(ctx, &url, url), cancel
		}, 7},
	} {
		t.Run(row.name, func(t *testing.T) {
			allocs := map[string]float64{}
			for _, c := range benchmarkClients {
				base := http.DefaultTransport.(*http.Transport).Clone()
				base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, url[len("http://"):])
				}
				client := c.make(base)
				req := newRequest(t, http.MethodGet, row.url, nil)
				if row.header != nil {
					req.Header = row.header
				}
				buf := make([]byte, 64)
				allocs[c.name] = testing.AllocsPerRun(1000, func() {
					ctx, cancel := row.context()
					resp, err := client.Do(req.WithContext(ctx))
					if err != nil {
						t.Error(err)
						return
					}
					for err == nil {
						_, err = resp.Body.Read(buf)
					}
					if err != io.EOF {
						t.Error(err)
					}
					resp.Body.Close()
					cancel()
				})
				base.CloseIdleConnections()
			}
			require.LessOrEqual(t, allocs["stability"], allocs["timeout"]+row.more, "%v", allocs)
			require.Less(t, allocs["plain"], allocs["timeout"], "%v", allocs)
		})
	}
}
