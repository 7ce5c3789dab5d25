package stabilityhttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/stabilityhttp"
)

// benchmarkClients are what a request costs without the library, with the one guard
// that net/http has, and with all of ours.
var benchmarkClients = []struct {
	name string
	make func(base http.RoundTripper) *http.Client
}{
	{"plain", func(base http.RoundTripper) *http.Client { return &http.Client{Transport: base} }},
	{"timeout", func(base http.RoundTripper) *http.Client {
		return &http.Client{Transport: base, Timeout: 30 * time.Second}
	}},
	{"stability", func(base http.RoundTripper) *http.Client {
		return &http.Client{Transport: stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})}
	}},
}

func BenchmarkClient(b *testing.B) {
	url := upstream(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	for _, c := range benchmarkClients {
		base := http.DefaultTransport.(*http.Transport).Clone()
		base.MaxIdleConnsPerHost = 100
		client := c.make(base)
		req := newRequest(b, http.MethodGet, url, nil)
		call := func() {
			resp, err := client.Do(req.WithContext(req.Context()))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		b.Run(c.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call()
				}
			})
		})
		base.CloseIdleConnections()
	}
}

// BenchmarkOverhead is what all guards cost, without the request: the base answers at
// once, after it has derived a context as net/http does.
func BenchmarkOverhead(b *testing.B) {
	resp := http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Header: http.Header{}}
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		_, cancel := context.WithCancelCause(req.Context())
		cancel(nil)
		answer := resp
		answer.Body = io.NopCloser(strings.NewReader(""))
		return &answer, nil
	}), stabilityhttp.TransportConfig{})
	req, buf := newRequest(b, http.MethodGet, bubbleURL, nil), make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = resp.Body.Read(buf)
		_ = resp.Body.Close()
	}
}

// BenchmarkRefusal is what a request costs that an open breaker refuses.
func BenchmarkRefusal(b *testing.B) {
	rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}), stabilityhttp.TransportConfig{})
	req := newRequest(b, http.MethodGet, bubbleURL, nil)
	if _, err := rt.RoundTrip(req); err != nil { //nolint:bodyclose // It is http.NoBody.
		b.Fatal(err)
	}
	rt.Gates("upstream.test:80").Breaker.ForceOpen()
	b.ReportAllocs()
	for b.Loop() {
		_, err := rt.RoundTrip(req) //nolint:bodyclose // It is refused.
		if err == nil {
			require.Error(b, err)
		}
	}
}
