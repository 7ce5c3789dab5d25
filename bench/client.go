package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/crumplezone/stability/bench/internal/loopback"
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
	return fetch(client, req.WithContext(req.Context()), int64(len(loopback.Hello)))
}

// fetch makes a request and reads its response, which has so many bytes.
func fetch(client *http.Client, req *http.Request, size int64) error {
	resp, err := client.Do(req) //nolint:gosec // The caller's own server is asked.
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (n != size || resp.StatusCode != http.StatusOK) {
		err = fmt.Errorf("a response of %d bytes with status %s", n, resp.Status)
	}
	return err
}

// The goals of the rows of HTTP.
const (
	getGoal      = "stabilityhttp standard client, loopback"
	postGoal     = "stabilityhttp standard client, POST of 200 bytes"
	uploadGoal   = "stabilityhttp standard client, upload of a file of 1 MiB"
	downloadGoal = "stabilityhttp standard client, download of 1 MiB"
)

// GetRow is the name of the row of the whole way of a GET.
const GetRow = "HTTP on loopback"

// clientGet is the whole way of a request on loopback.
func clientGet() Row {
	return overLoopback(GetRow, getGoal, "A GET of five bytes over a connection that is kept, from a server in another process.",
		func() (fetcher, func()) {
			req, err := http.NewRequest(http.MethodGet, loopback.URL(), nil) //nolint:noctx // It has the background's.
			granted(err)
			return func(client *http.Client) error { return Get(client, req) }, nil
		})
}

// clientPost is a small body, which is in memory.
func clientPost() Row {
	return overLoopback("HTTP on loopback, POST of 200 bytes", postGoal, "The body is a `bytes.Reader`; the response has five bytes.",
		func() (fetcher, func()) {
			body := bytes.Repeat([]byte("x"), 200)
			return func(client *http.Client) error {
				req, err := http.NewRequest(http.MethodPost, loopback.URL(), bytes.NewReader(body)) //nolint:noctx // As above.
				if err != nil {
					return err
				}
				return fetch(client, req, int64(len(loopback.Hello)))
			}, nil
		})
}

// clientUpload is a large body, which is in a file.
func clientUpload() Row {
	return overLoopback("HTTP on loopback, upload of a file", uploadGoal, "A PUT of 1 MiB; the body is an `os.File`, which is opened for each request; the response has five bytes.",
		func() (fetcher, func()) {
			file, err := os.CreateTemp("", "upload")
			granted(err)
			_, err = file.Write(make([]byte, loopback.Large))
			granted(err)
			granted(file.Close())
			return func(client *http.Client) error {
				body, err := os.Open(file.Name())
				if err != nil {
					return err
				}
				req, err := http.NewRequest(http.MethodPut, loopback.URL(), body) //nolint:noctx // As above.
				if err != nil {
					return err
				}
				req.ContentLength = loopback.Large
				return fetch(client, req, int64(len(loopback.Hello)))
			}, func() { granted(os.Remove(file.Name())) }
		})
}

// clientDownload is a large response.
func clientDownload() Row {
	return overLoopback("HTTP on loopback, download of 1 MiB", downloadGoal, "A GET, whose response `io.Copy` reads.",
		func() (fetcher, func()) {
			req, err := http.NewRequest(http.MethodGet, loopback.URL()+loopback.LargePath, nil) //nolint:noctx // As above.
			granted(err)
			return func(client *http.Client) error {
				return fetch(client, req.WithContext(req.Context()), loopback.Large)
			}, nil
		})
}

// A fetcher makes a request and reads the response to its end.
type fetcher func(*http.Client) error

// overLoopback is a row of all clients that make the same requests. prepare returns how one
// is made, and what is left to do at the end, or nil.
func overLoopback(name, goal, note string, prepare func() (fetcher, func())) Row {
	row := Row{
		Name: name,
		Note: note,
		Real: true,
		Goals: []Goal{
			{Name: goal, Against: httpTimeoutName, Serial: 1.05, All: 1.05},
		},
	}
	for _, c := range Clients() {
		row.Candidates = append(row.Candidates, Candidate{Name: c.Name, Kind: c.Kind, How: c.How, Setup: func() Work {
			base := Base()
			client := c.New(base)
			fetch, end := prepare()
			granted(fetch(client))
			return Work{Do: func(_, n int) {
				for range n {
					granted(fetch(client))
				}
			}, Close: func() {
				base.CloseIdleConnections()
				if end != nil {
					end()
				}
			}}
		}})
	}
	return row
}
