package bench

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/crumplezone/stability/stabilityhttp"
)

const httpTimeoutName = "http.Client{Timeout}"

// A Client is an HTTP client to be compared.
type Client struct {
	// Name is its name.
	Name string
	// Kind is what it is there for.
	Kind Kind
	// How says what it is made of.
	How string
	// New returns one that sends with base.
	New func(base http.RoundTripper) *http.Client
}

// Clients returns the HTTP clients, the library's first.
//
//nolint:bodyclose // It takes what builds a policy for something that returns a response.
func Clients() []Client {
	return []Client{
		{"stability", Ours, "`NewTransport(base, TransportConfig{})`: everything is on.", func(base http.RoundTripper) *http.Client {
			return &http.Client{Transport: stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})}
		}},
		{"http.Client", Primitive, "Without a timeout.", func(base http.RoundTripper) *http.Client {
			return &http.Client{Transport: base}
		}},
		{httpTimeoutName, Peer, "30 s.", func(base http.RoundTripper) *http.Client {
			return &http.Client{Transport: base, Timeout: 30 * time.Second}
		}},
		{"failsafehttp", Peer, "Retry, a breaker as ours, a bulkhead of 100, a timeout of 10 s. One host, so one breaker; no total timeout, no deadline header.", func(base http.RoundTripper) *http.Client {
			return &http.Client{Transport: failsafehttp.NewRoundTripper(base,
				failsafehttp.NewRetryPolicyBuilder().WithBackoff(50*time.Millisecond, 2*time.Second).Build(),
				failsafebulkhead.NewBuilder[*http.Response](100).WithMaxWaitTime(time.Second).Build(),
				circuitbreaker.NewBuilder[*http.Response]().WithFailureRateThreshold(0.5, 20, 10*time.Second).
					HandleIf(func(resp *http.Response, err error) bool { return err != nil || resp != nil && resp.StatusCode >= 500 }).
					WithDelay(5*time.Second).Build(),
				failsafetimeout.New[*http.Response](10*time.Second),
			)}
		}},
		{"go-retryablehttp", Peer, "`NewClient().StandardClient()`, with a timeout of 30 s and no logging. It retries; it has no breaker and no bulkhead.", func(base http.RoundTripper) *http.Client {
			client := retryablehttp.NewClient()
			client.Logger = nil
			client.HTTPClient = &http.Client{Transport: base, Timeout: 30 * time.Second}
			return client.StandardClient()
		}},
	}
}

// Base is what all clients send with: the standard transport with connections kept
// for as many requests as there are at a time.
func Base() *http.Transport {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConns, base.MaxIdleConnsPerHost = 0, 1000
	return base
}

// Get makes a request and reads its response to the end.
func Get(client *http.Client, req *http.Request) error {
	resp, err := client.Do(req.WithContext(req.Context())) //nolint:gosec // The caller's own server is asked.
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && n != int64(len(hello)) {
		err = fmt.Errorf("a response of %d bytes", n)
	}
	return err
}

const hello = "hello"

// Hello is the server's handler.
func Hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, hello) }

// client is the whole way of a request on loopback.
func client() Row {
	row := Row{
		Name: "HTTP on loopback",
		Note: "A GET of five bytes over a connection that is kept, from a server in the same process. The allocations are those of the client alone, counted with a server that makes none.",
		Real: true,
		Goals: []Goal{
			{Name: "stabilityhttp standard client, loopback", Against: httpTimeoutName, Serial: 1.05, All: 1.05,
				Why: "Ours sends two header fields, the deadline and the number of the attempt, which client and server in the same process write and read: half of the difference, in instructions. Where the two take turns on several cores, the serial ratio is from 1.05 to 1.2 from run to run. The rest finds the host's gates, passes them, and holds a permit until the body ends."},
		},
	}
	for _, c := range Clients() {
		row.Candidates = append(row.Candidates, Candidate{
			Name: c.Name, Kind: c.Kind, How: c.How,
			Setup: func() Work {
				server := httptest.NewServer(http.HandlerFunc(Hello))
				return c.asks(server.URL, server.Close)
			},
			Alone: func() Work { return c.asks(frugal()) },
		})
	}
	return row
}

// asks is requests to the server at url, which stop stops.
func (c Client) asks(url string, stop func()) Work {
	base := Base()
	client := c.New(base)
	req, err := http.NewRequest(http.MethodGet, url, nil) //nolint:noctx // It has the background's.
	granted(err)
	granted(Get(client, req))
	return Work{Do: func(_, n int) {
		for range n {
			granted(Get(client, req))
		}
	}, Close: func() {
		base.CloseIdleConnections()
		stop()
	}}
}

// frugal starts a server that answers every request on a connection and allocates
// nothing for it.
func frugal() (url string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	granted(err)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
	return "http://" + listener.Addr().String(), func() { _ = listener.Close() }
}

func answer(conn net.Conn) {
	defer conn.Close()
	response, end := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+hello), []byte("\r\n\r\n")
	buf := make([]byte, 4096)
	for {
		n := 0
		for !bytes.HasSuffix(buf[:n], end) {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}
