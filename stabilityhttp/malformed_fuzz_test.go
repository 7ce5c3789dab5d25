package stabilityhttp

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
)

// A request is malformed exactly where net/http does not send it, whatever the error says.
func FuzzMalformed(f *testing.F) {
	f.Add("GET", "upstream.test", "/a", "q=1", "Accept", "text/html", "X-Sum", int64(0))
	f.Add("GE T", "upstream.test", "/", "", "Accept", "text/html", "", int64(0))
	f.Add("GET", "up stream.test", "/", "", "Ac cept", "text/html", "", int64(0))
	f.Add("GET", "upstream.test", "/\x00", "\x7f", "Accept", "a\r\nb: c", "", int64(0))
	f.Add("POST", "grün.test:80", "//x", "", "", "", "Content-Length", int64(5))
	f.Fuzz(func(t *testing.T, method, host, path, query, name, value, trailer string, length int64) {
		req := (&http.Request{
			Method: method, URL: &url.URL{Scheme: "http", Host: host, Path: path, RawQuery: query},
			Header: http.Header{name: {value}}, ContentLength: length,
		}).WithContext(t.Context())
		if name == "" {
			req.Header = http.Header{}
		}
		if trailer != "" {
			req.Trailer = http.Header{trailer: nil}
		}
		c := &deaf{closed: make(chan struct{}), asked: make(chan struct{}, 1)}
		base := &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return c, nil },
		}
		resp, err := base.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			if isMalformed(req, http.ErrBodyNotAllowed) {
				t.Fatalf("net/http sends it: %q", c.written.Bytes())
			}
			return
		}
		c.mu.Lock()
		sent := c.written.Len() > 0
		c.mu.Unlock()
		if !sent && !isMalformed(req, err) {
			t.Fatalf("net/http does not send it: %v", err)
		}
	})
}

// deaf is a connection that answers 200 to whatever is a whole request.
type deaf struct {
	net.Conn
	mu      sync.Mutex
	written bytes.Buffer
	once    sync.Once
	closed  chan struct{}
	asked   chan struct{}
}

func (c *deaf) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written.Write(p)
	if bytes.Contains(c.written.Bytes(), []byte("\r\n\r\n")) {
		select {
		case c.asked <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func (c *deaf) Read(p []byte) (int, error) {
	select {
	case <-c.asked:
		return copy(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *deaf) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// The network of a key contains the key's address, and is that of every other address in
// it. Text that is no address has none.
func FuzzNetworkOf(f *testing.F) {
	for _, key := range []string{"2001:db8:1:2::/64", "2001:db8::1", "192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::/40", "x"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		network, ok := networkOf(key)
		ip, err := netip.ParseAddr(key)
		if prefix, perr := netip.ParsePrefix(key); perr == nil {
			ip, err = prefix.Addr(), nil
		}
		if err != nil || ip.Unmap().Is4() {
			if ok {
				t.Fatalf("%q: %q", key, network)
			}
			return
		}
		if !ok {
			return // a prefix that is wider
		}
		prefix, err := netip.ParsePrefix(network)
		if err != nil || prefix.Bits() != 48 || prefix.Masked() != prefix || !prefix.Contains(ip.WithZone("")) {
			t.Fatalf("%q: %q", key, network)
		}
		again, ok := networkOf(network)
		if !ok || again != network {
			t.Fatalf("%q: %q, then %q", key, network, again)
		}
	})
}
