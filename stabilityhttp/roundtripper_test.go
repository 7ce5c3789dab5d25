package stabilityhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/stabilityhttp"
)

// lockedBody is a request body that tells whether it was closed, from whatever
// goroutine.
type lockedBody struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newLockedBody(r io.Reader) *lockedBody {
	return &lockedBody{Reader: r, closed: make(chan struct{})}
}

func (b *lockedBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// The request is as it was, and its body is closed, on every way through.
//
// Contract: 37
func TestRequestUnchangedAndClosed(t *testing.T) {
	answer := func(status int) string {
		return upstream(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
		})
	}
	early := func() string { return upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }) }
	for _, c := range []struct {
		name string
		url  string
		cfg  stabilityhttp.TransportConfig
	}{
		{"200", answer(200), stabilityhttp.TransportConfig{}},
		{"503, retried", answer(503), stabilityhttp.TransportConfig{}},
		{"503, early", early(), stabilityhttp.TransportConfig{}},
		{"reset", rawUpstream(t, reset), stabilityhttp.TransportConfig{}},
		{"refused connection", refusing(t), stabilityhttp.TransportConfig{}},
		{"hang", rawUpstream(t, hang), stabilityhttp.TransportConfig{StallTimeout: 50 * time.Millisecond}},
		{"without anything", answer(200), stabilityhttp.TransportConfig{Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout | stabilityhttp.PartRetry |
			stabilityhttp.PartBulkhead | stabilityhttp.PartBreaker | stabilityhttp.PartDeadlineHeader}},
	} {
		for _, getBody := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(nil, c.cfg)
				defer rt.CloseIdleConnections()
				body := newLockedBody(strings.NewReader("body"))
				req := newRequest(t, http.MethodPut, c.url, body)
				req.ContentLength = 4
				if getBody {
					req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
				}
				values := make([]string, 1, 8)
				values[0] = "kept"
				req.Header["X-Mine"] = values
				req.Header.Set(stabilityhttp.DeadlineHeader, "its own")
				header, url, ctx := maps.Clone(req.Header), *req.URL, req.Context()

				resp, err := rt.RoundTrip(req)
				require.NotEqual(t, resp == nil, err == nil, "response xor error")
				if err == nil {
					require.Same(t, req, resp.Request)
					_, err = io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
				}
				<-body.closed
				require.Equal(t, header, req.Header)
				require.Equal(t, url, *req.URL)
				require.Equal(t, ctx, req.Context())
				require.Same(t, body, req.Body)
				require.Equal(t, getBody, req.GetBody != nil)
				require.EqualValues(t, 4, req.ContentLength)
				require.Empty(t, values[:2][1], "nothing is appended behind the caller's values")
			})
		}
	}
}

// A base may add to the header that it gets, and nothing else changes by it.
//
// Contract: 37
func TestBaseAddsToTheHeader(t *testing.T) {
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		req.Header.Add("X-Mine", "added")
		req.Header.Add(stabilityhttp.DeadlineHeader, "added")
		assert.Equal(t, []string{"kept", "added"}, req.Header["X-Mine"])
		assert.Equal(t, []string{"1"}, req.Header[stabilityhttp.AttemptHeader])
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}), stabilityhttp.TransportConfig{})
	req := newRequest(t, http.MethodGet, bubbleURL, nil)
	values := append(make([]string, 0, 8), "kept")
	req.Header["X-Mine"] = values
	_, err := rt.RoundTrip(req) //nolint:bodyclose // It is http.NoBody.
	require.NoError(t, err)
	require.Equal(t, http.Header{"X-Mine": {"kept"}}, req.Header)
	require.Empty(t, values[:2][1], "nothing is appended behind the caller's values")
}

// With the header parts off, what a base set in the header was set in the caller's request,
// and a hedge whose calls did so side by side killed the process: concurrent map writes.
//
// Contract: 37
func TestBaseSetsAFieldBesideAHedge(t *testing.T) {
	for name, cfg := range map[string]stabilityhttp.TransportConfig{
		"all parts": {},
		"no fields": {Off: stabilityhttp.PartDeadlineHeader | stabilityhttp.PartRetry},
		"no parts": {Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout | stabilityhttp.PartRetry | stabilityhttp.PartQuota |
			stabilityhttp.PartBulkhead | stabilityhttp.PartBreaker | stabilityhttp.PartDeadlineHeader},
	} {
		for _, hedged := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", hedged ", hedged), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					calls := 1
					if hedged {
						calls = 2
						cfg.Hedge = &hedge.Config{Delay: time.Second}
					}
					var both sync.WaitGroup
					both.Add(calls)
					rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
						both.Done()
						both.Wait() // so that they are side by side
						for i := range 100 {
							req.Header.Set("Authorization", strconv.Itoa(i))
							req.Header.Add("X-Mine", "added")
							req.Header.Del("X-Other")
						}
						return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
					}), cfg)
					req := newRequest(t, http.MethodGet, bubbleURL, nil)
					req.Header = http.Header{"X-Mine": {"kept"}, "X-Other": {"kept"}}
					_, err := rt.RoundTrip(req) //nolint:bodyclose // It is http.NoBody.
					require.NoError(t, err)
					require.Equal(t, http.Header{"X-Mine": {"kept"}, "X-Other": {"kept"}}, req.Header)
					require.EqualValues(t, calls-1, rt.Stats().Hedge.Hedges)
				})
			})
		}
	}
}

// An attempt's context lives until its body has ended, and not longer; that of an
// upgraded connection does not end by itself.
//
// Contract: 21, 34
func TestContextOfAnAttempt(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   io.ReadCloser
		alive  time.Duration
	}{
		{"no body", http.StatusOK, http.NoBody, 0},
		{"a body", http.StatusOK, io.NopCloser(strings.NewReader("body")), time.Second},
		{"an upgraded connection", http.StatusSwitchingProtocols, readWriteCloser{io.NopCloser(strings.NewReader("body")), io.Discard}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ctx context.Context
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					ctx = req.Context()
					context.AfterFunc(ctx, func() {}) // as net/http does; it sets the timer
					return &http.Response{StatusCode: c.status, Body: c.body}, nil
				}), gatesOnly)
				resp, err := rt.RoundTrip(newUpgrade(t, "echo"))
				require.NoError(t, err)
				if c.alive > 0 {
					time.Sleep(c.alive)
					require.NoError(t, ctx.Err())
				}
				require.NoError(t, resp.Body.Close())
				require.ErrorIs(t, ctx.Err(), context.Canceled)
				<-ctx.Done()
			})
		})
	}
}

type readWriteCloser struct {
	io.ReadCloser
	io.Writer
}

// A base may read the request's body for longer than the response's headers took: the
// server does not owe anything then.
//
// Contract: 36
func TestUploadGoesOnAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent *http.Request
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			sent = req
			context.AfterFunc(req.Context(), func() {})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("body"))}, nil
		}), stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, strings.NewReader("two pieces")))
		require.NoError(t, err)
		_, err = sent.Body.Read(make([]byte, 5))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.NoError(t, sent.Context().Err())
		require.NoError(t, resp.Body.Close())
	})
}

// An upload that goes on while the response's body is awaited does not take the
// server's time limit from it.
//
// Contract: 35
func TestUploadGoesOnDuringAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func([]byte) (int, error) {
				_, _ = req.Body.Read(make([]byte, 1))
				<-req.Context().Done()
				return 0, req.Context().Err()
			}))}, nil
		}), stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second})
		start := time.Now()
		resp, err := rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, strings.NewReader("two pieces")))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, resp.Body.Close())
	})
}

// foreign is a context that is not of the context package, which waits for its end
// with a goroutine each time.
type foreign struct {
	context.Context
	done chan struct{}
}

func (f foreign) Done() <-chan struct{} { return f.done }

// Requests under one long-lived context leave nothing in it, and no goroutine.
//
// Contract: 21
func TestLongLivedParent(t *testing.T) {
	c, rt := newClient(t, stabilityhttp.TransportConfig{})
	url := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	ctx := foreign{t.Context(), make(chan struct{})}
	for range 100 {
		resp, err := do(c, newRequest(t, http.MethodGet, url, nil).WithContext(ctx))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	requireCalls(t, rt, url, stability.Calls{Succeeded: 100})
}

// The base that is used where none is given keeps as many connections as the bulkhead
// lets it have. In a bubble, where no time passes while a connection is read: net/http
// gives a connection up whose writer has not reported within 50 ms that it is done.
//
// Contract: 33
func TestIdleConnectionsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 20
		var here sync.WaitGroup
		var conns conns
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			here.Done()
			here.Wait()
		}))
		s.Config.ConnState = conns.state
		s.Start()
		t.Cleanup(s.Close)
		rt := stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: crowd}})
		t.Cleanup(rt.CloseIdleConnections)
		c := &http.Client{Transport: rt}
		for range 5 {
			here.Add(crowd)
			var wg sync.WaitGroup
			for range crowd {
				wg.Go(func() {
					resp, err := get(t, c, s.URL)
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
				})
			}
			wg.Wait()
		}
		require.EqualValues(t, crowd, conns.opened.Load())
	})
}

// Who is to blame where the request's body and the server both fail.
//
// Contract: 35
func TestWhoFailed(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		base func(req *http.Request) (*http.Response, error)
		want stability.Calls
	}{
		"the body, before there was an answer": {func(req *http.Request) (*http.Response, error) {
			_, err := req.Body.Read(make([]byte, 1))
			return nil, err
		}, stability.Calls{Ignored: 1}},
		"the server, whose base then closed the body": {func(req *http.Request) (*http.Response, error) {
			req.Body.Close()
			_, _ = req.Body.Read(make([]byte, 1))
			return nil, failed
		}, stability.Calls{Failed: 1}},
		"the server, in the midst of its answer": {func(req *http.Request) (*http.Response, error) {
			_, _ = req.Body.Read(make([]byte, 1))
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, failed }))}, nil
		}, stability.Calls{Failed: 1}},
		"a gate further in": {func(*http.Request) (*http.Response, error) {
			return nil, &stability.Rejection{Policy: "other", Reason: failed}
		}, stability.Calls{Ignored: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			rt := stabilityhttp.NewTransport(roundTripper(c.base), gatesOnly)
			resp, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, readerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe })))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			require.Error(t, err)
			requireCalls(t, rt, bubbleURL, c.want)
		})
	}
}

// What Close reads of a body is as much as 16 KiB and its end, over HTTP/1 only.
//
// Contract: 33
func TestWhatCloseReads(t *testing.T) {
	const most = 16 << 10
	for _, c := range []struct {
		proto, size int
		ended       bool
	}{{1, 0, true}, {1, most, true}, {1, most + 1, false}, {2, 10, false}} {
		ended := false
		content := io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), int64(c.size))
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, ProtoMajor: c.proto, Body: io.NopCloser(readerFunc(func(p []byte) (int, error) {
				n, err := content.Read(p)
				ended = ended || err != nil
				return n, err
			}))}, nil
		}), gatesOnly)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, c.ended, ended, "HTTP/%d, %d bytes", c.proto, c.size)
	}
}

// A request whose context has ended is not sent, and its body closed.
//
// Contract: 37
func TestEndedContext(t *testing.T) {
	rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, context.Canceled
	}), stabilityhttp.TransportConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closeCounter{Reader: strings.NewReader("body")}
	_, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, body).WithContext(ctx)) //nolint:bodyclose // There is none.
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, body.closed)
}

// Contract: 37
func TestRedirects(t *testing.T) {
	c, rt := newClient(t, stabilityhttp.TransportConfig{})
	var url string
	url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/start":
			http.Redirect(w, r, url+"/again", http.StatusTemporaryRedirect)
		case "/again":
			http.Redirect(w, r, url+"/end", http.StatusPermanentRedirect)
		default:
			_, _ = io.Copy(w, r.Body)
		}
	})
	resp, err := do(c, newRequest(t, http.MethodPost, url+"/start", strings.NewReader("carried along")))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "carried along", string(body))
	require.Equal(t, "/end", resp.Request.URL.Path)
	requireCalls(t, rt, url, stability.Calls{Succeeded: 3})
}

// An upgraded connection can be written, has no time limits, and holds a permit that is
// not one of the other requests'.
//
// Contract: 37
func TestUpgrade(t *testing.T) {
	cfg := stabilityhttp.TransportConfig{Timeout: 2 * time.Second, StallTimeout: time.Second}
	bubble(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "echo", r.Header.Get("Upgrade"))
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := c.Do(newUpgrade(t, "echo").WithContext(ctx))
		require.NoError(t, err)
		cancel() // as those do who dial with a context
		conn, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok)
		for range 3 {
			time.Sleep(time.Hour)
			_, err = io.WriteString(conn, "hello")
			require.NoError(t, err)
			echo := make([]byte, 5)
			_, err = io.ReadFull(conn, echo)
			require.NoError(t, err)
			require.Equal(t, "hello", string(echo))
		}
		gates := rt.Gates("upstream.test:80")
		require.Zero(t, gates.Bulkhead.Stats().InUse)
		require.Equal(t, 1, gates.Upgrades.Stats().InUse)
		require.Equal(t, 1, rt.Stats().Upgrades.InUse)
		require.NoError(t, conn.Close())
		_ = conn.Close()
		require.Equal(t, stability.Calls{Succeeded: 1}, gates.Breaker.Stats().Calls)
		require.Equal(t, stability.Calls{Succeeded: 1}, gates.Upgrades.Stats().Calls)
		require.Zero(t, gates.Upgrades.Stats().InUse)
	})
}

// Contract: 37
func TestExpectContinue(t *testing.T) {
	c, rt := newClient(t, stabilityhttp.TransportConfig{})
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	post := func(path string, body io.ReadCloser) *http.Response {
		req := newRequest(t, http.MethodPost, url+path, body)
		req.Header.Set("Expect", "100-continue")
		resp, err := do(c, req)
		require.NoError(t, err)
		return resp
	}
	resp := post("/", io.NopCloser(strings.NewReader("wanted")))
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "wanted", string(got))

	body := newLockedBody(readerFunc(func([]byte) (int, error) { t.Error("sent all the same"); return 0, io.EOF }))
	resp = post("/refused", body)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusExpectationFailed, resp.StatusCode)
	<-body.closed
	requireCalls(t, rt, url, stability.Calls{Succeeded: 2})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Trailers, and what the transport says about the body, come through.
//
// Contract: 37
func TestResponseFields(t *testing.T) {
	c, _ := newClient(t, stabilityhttp.TransportConfig{})
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00"))
			return
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	resp, err := get(t, c, url)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "42", resp.Trailer.Get("X-Sum"))
	require.EqualValues(t, -1, resp.ContentLength)

	resp, err = get(t, c, url+"/gzip")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "a", string(body))
	require.True(t, resp.Uncompressed)
}

// HTTP/2 over TLS: many requests at once, one connection, bodies read, closed unread
// and reset by the server.
//
// Contract: 33, 34, 35, 37
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 100_000))
		if r.URL.Path == "/reset" {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	s.EnableHTTP2 = true
	var conns atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	rt := stabilityhttp.NewTransport(s.Client().Transport, stabilityhttp.TransportConfig{})
	c := &http.Client{Transport: rt}
	call := func(path string, end func(io.ReadCloser) error) error {
		resp, err := c.Do(newRequest(t, http.MethodGet, s.URL+path, nil))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Error(resp.Proto)
		}
		return end(resp.Body)
	}
	readAll := func(body io.ReadCloser) error { _, err := io.ReadAll(body); return err }
	require.NoError(t, call("/", readAll))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := call("/", readAll); err != nil {
				t.Error(err)
			}
			if err := call("/", io.ReadCloser.Close); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Error(t, call("/reset", readAll))
	require.EqualValues(t, 1, conns.Load())
	requireCalls(t, rt, s.URL, stability.Calls{Succeeded: 41, Failed: 1})
}

// What is left of a body that is closed early is read when that is cheap, and the
// connection is used again.
//
// Contract: 33
func TestClosedEarlyKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns conns
		m := serveInMemory(t, &http.Server{ConnState: conns.state, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"some": "json"}`)
			if r.URL.Path == "/chunked" {
				w.(http.Flusher).Flush()
			}
		})})
		base := &http.Transport{DialContext: m.dial}
		t.Cleanup(base.CloseIdleConnections)
		c := &http.Client{Transport: stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})}
		for range 10 {
			for _, path := range []string{"", "chunked"} {
				resp, err := get(t, c, bubbleURL+path)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
		}
		require.EqualValues(t, 1, conns.opened.Load())
	})
}

// To close a body that does not end takes no longer than nobody notices.
func TestCloseDoesNotWait(t *testing.T) {
	bubble(t, gatesOnly, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
		resp, err := get(t, c, bubbleURL)
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start = time.Now()
		resp, err = do(c, newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, time.Millisecond, time.Since(start), "nor past the deadline")
		requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 2})

		resp, err = get(t, c, bubbleURL)
		require.NoError(t, err)
		read := make(chan error)
		go func() {
			_, err := io.ReadAll(resp.Body)
			read <- err
		}()
		synctest.Wait()
		start = time.Now()
		require.NoError(t, resp.Body.Close())
		require.Error(t, <-read, "a Read under way ends")
		require.Zero(t, time.Since(start))
		requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 3})
	})
}

// Read, Close and the end of the context may come from anywhere at any time: one
// outcome.
//
// Contract: 43, 45
func TestConcurrentReadCloseCancel(t *testing.T) {
	c, rt := newClient(t, gatesOnly)
	url := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 300_000)) })
	const calls = 200
	for range calls {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := do(c, newRequest(t, http.MethodGet, url, nil).WithContext(ctx))
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		wg.Go(func() { _ = resp.Body.Close() })
		wg.Go(cancel)
		wg.Wait()
	}
	gates := rt.Gates(key(t, url))
	require.EqualValues(t, calls, gates.Breaker.Stats().Started())
	require.Zero(t, gates.Breaker.Stats().Failed)
	require.Zero(t, gates.Bulkhead.Stats().InUse)
}

// A streaming upload is sent as it comes, piece by piece, however long its pieces
// take; the server is not blamed for that.
//
// Contract: 36
func TestStreamingUpload(t *testing.T) {
	cfg := stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second}
	received := make(chan string)
	bubble(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		s := bufio.NewScanner(r.Body)
		for s.Scan() {
			received <- s.Text()
		}
		_, _ = io.WriteString(w, "all of it")
	}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
		received = make(chan string)
		pr, pw := io.Pipe()
		go func() {
			for range 10 {
				time.Sleep(time.Minute)
				_, _ = io.WriteString(pw, "piece\n")
				if got := <-received; got != "piece" {
					t.Error(got)
				}
			}
			pw.Close()
		}()
		resp, err := c.Do(newRequest(t, http.MethodPost, bubbleURL, pr))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, "all of it", string(body))
		requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})
	})
}

// A server that answers before the upload has ended is heard.
//
// Contract: 36
func TestAnsweredBeforeTheUploadEnded(t *testing.T) {
	c, rt := newClient(t, stabilityhttp.TransportConfig{})
	url := rawUpstream(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
		hang(conn)
	})
	payload := bytes.Repeat([]byte("0123456789"), 1<<20)
	for range 10 {
		resp, err := do(c, newRequest(t, http.MethodPost, url, io.NopCloser(bytes.NewReader(payload))))
		if err != nil {
			continue // the answer came so early that net/http saw a broken connection
		}
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		_, _ = io.ReadAll(resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	require.Zero(t, rt.Gates(key(t, url)).Bulkhead.Stats().InUse)
}

// A caller whose own reader fails has no reason to complain about the server.
func TestUploadFails(t *testing.T) {
	c, rt := newClient(t, stabilityhttp.TransportConfig{})
	var requests atomic.Int32
	url := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	req := newRequest(t, http.MethodPut, url, readerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	_, err := do(c, req) //nolint:bodyclose // There is none.
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.LessOrEqual(t, requests.Load(), int32(1))
	requireCalls(t, rt, url, stability.Calls{Ignored: 1})
}

// Contract: 33
func TestCloseIdleConnections(t *testing.T) {
	closed := 0
	rt := stabilityhttp.NewTransport(idleCloser{func() { closed++ }}, stabilityhttp.TransportConfig{})
	(&http.Client{Transport: rt}).CloseIdleConnections()
	require.Equal(t, 1, closed)
	stabilityhttp.NewTransport(roundTripper(nil), stabilityhttp.TransportConfig{}).CloseIdleConnections()
}

type idleCloser struct{ f func() }

func (idleCloser) RoundTrip(*http.Request) (*http.Response, error) { return nil, net.ErrClosed }
func (c idleCloser) CloseIdleConnections()                         { c.f() }

func TestNilTransport(t *testing.T) {
	url := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "unguarded") })
	var rt *stabilityhttp.Transport
	defer rt.CloseIdleConnections()
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, nil))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "unguarded", string(body))
	require.Zero(t, rt.Stats())
	require.Equal(t, stabilityhttp.Gates{}, rt.Gates("upstream.test:80"))
	require.Equal(t, bulkhead.Stats{}, rt.Gates("upstream.test:80").Bulkhead.Stats())
}

// A nil *Transport as http.DefaultTransport, which is what an off switch comes to where a
// service guards all its requests, called itself until the stack overflowed.
//
// Contract: 54
func TestNilTransportIsTheDefault(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	url := upstream(t, func(http.ResponseWriter, *http.Request) {})
	var none *stabilityhttp.Transport
	calls := 0
	wrapped := roundTripper(func(req *http.Request) (*http.Response, error) {
		calls++
		return none.RoundTrip(req)
	})
	for name, base := range map[string]http.RoundTripper{
		"nil":                 none,
		"around nil":          stabilityhttp.NewTransport(none, stabilityhttp.TransportConfig{}),
		"wrapped":             wrapped,
		"wrapped and guarded": stabilityhttp.NewTransport(wrapped, stabilityhttp.TransportConfig{}),
	} {
		http.DefaultTransport = base
		for _, rt := range []http.RoundTripper{none, base, stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{})} {
			req := newRequest(t, http.MethodGet, url, nil)
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err, name)
			require.Same(t, req, resp.Request, name)
			require.NoError(t, resp.Body.Close())
			(&http.Client{Transport: rt}).CloseIdleConnections()
		}
	}
	require.GreaterOrEqual(t, calls, 6, "what somebody has put there is asked")
}
