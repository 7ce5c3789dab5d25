package stabilityhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// Every fault that a server can have, wherever it strikes, is a failure in the
// breaker's eyes, and gives everything back.
//
// Contract: 35
func TestFaults(t *testing.T) {
	for _, f := range []struct {
		name  string
		serve func(net.Conn)
		is    error
	}{
		{"hang", hang, timeout.ErrExceeded},
		{"reset", reset, nil},
		{"truncate", truncate, io.ErrUnexpectedEOF},
		{"truncateChunked", truncateChunked, io.ErrUnexpectedEOF},
		{"resetBody", resetBody, nil},
		{"hangBody", hangBody, timeout.ErrExceeded},
		{"endlessHeaders", endlessHeaders, nil},
		{"garbage", garbage, nil},
		{"badGzip", badGzip, nil},
	} {
		t.Run(f.name, func(t *testing.T) {
			cfg := gatesOnly
			if errors.Is(f.is, timeout.ErrExceeded) { // no other fault needs a limit, which a busy machine might miss
				cfg.StallTimeout = 100 * time.Millisecond
			}
			c, rt := newClient(t, cfg)
			url := rawUpstream(t, f.serve)
			resp, err := get(t, c, url)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, resp.Body.Close())
			}
			require.Error(t, err)
			if f.is != nil {
				require.ErrorIs(t, err, f.is)
			}
			requireCalls(t, rt, url, stability.Calls{Failed: 1})
		})
	}
	t.Run("refuse", func(t *testing.T) {
		c, rt := newClient(t, gatesOnly)
		url := refusing(t)
		_, err := get(t, c, url)
		require.Error(t, err)
		requireCalls(t, rt, url, stability.Calls{Failed: 1})
	})
}

// Contract: 34, 37
func TestBodyHoldsTheGates(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for _, end := range []struct {
		name string
		how  func(t *testing.T, body io.ReadCloser)
	}{
		{"read to its end", func(t *testing.T, body io.ReadCloser) {
			b, err := io.ReadAll(body)
			require.NoError(t, err)
			require.Equal(t, big, string(b))
		}},
		{"closed unread", func(t *testing.T, body io.ReadCloser) { require.NoError(t, body.Close()) }},
		{"closed half read, twice", func(t *testing.T, body io.ReadCloser) {
			_, err := io.CopyN(io.Discard, body, 1000)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			_ = body.Close()
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			c, rt := newClient(t, gatesOnly)
			url := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big) })
			resp, err := get(t, c, url)
			require.NoError(t, err)
			gates := rt.Gates(key(t, url))
			require.Equal(t, 1, gates.Bulkhead.Stats().InUse)
			require.Zero(t, gates.Breaker.Stats().Started())
			end.how(t, resp.Body)
			requireCalls(t, rt, url, stability.Calls{Succeeded: 1})
			_ = resp.Body.Close()
		})
	}
}

// Contract: 37
func TestResponsesWithoutBody(t *testing.T) {
	c, rt := newClient(t, gatesOnly)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/head":
			w.Header().Set("Content-Length", "12345")
		}
	})
	head := newRequest(t, http.MethodHead, url+"/head", nil)
	for _, req := range []*http.Request{
		head,
		newRequest(t, http.MethodGet, url+"/204", nil),
		newRequest(t, http.MethodGet, url+"/304", nil),
		newRequest(t, http.MethodGet, url+"/empty", nil),
	} {
		resp, err := do(c, req) //nolint:bodyclose // There is none, and nothing may wait for its Close.
		require.NoError(t, err)
		require.Equal(t, http.NoBody, resp.Body)
		if req == head {
			require.EqualValues(t, 12345, resp.ContentLength)
		}
		require.Zero(t, rt.Gates(key(t, url)).Bulkhead.Stats().InUse)
	}
	requireCalls(t, rt, url, stability.Calls{Succeeded: 4})
}

// bubble runs f in a bubble, with a Transport that reaches h.
func bubble(t *testing.T, cfg stabilityhttp.TransportConfig, h http.HandlerFunc, f func(*testing.T, *http.Client, *stabilityhttp.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(memoryUpstream(t, h), cfg)
		f(t, &http.Client{Transport: rt}, rt)
	})
}

const bubbleURL = "http://upstream.test/"

// A body that takes much longer than the stall timeout arrives whole, because it
// keeps coming, and because nobody cancels what is being read.
//
// Contract: 34
func TestTrickle(t *testing.T) {
	piece := bytes.Repeat([]byte("0123456789abcdef"), 64)
	bubble(t, stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second},
		func(w http.ResponseWriter, _ *http.Request) {
			for range 1024 {
				time.Sleep(900 * time.Millisecond)
				_, _ = w.Write(piece)
				w.(http.Flusher).Flush()
			}
		},
		func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
			start := time.Now()
			resp, err := get(t, c, bubbleURL)
			require.NoError(t, err)
			defer resp.Body.Close()
			var got bytes.Buffer
			n, err := got.ReadFrom(resp.Body)
			require.NoError(t, err)
			require.EqualValues(t, 1<<20, n)
			require.Equal(t, bytes.Repeat(piece, 1024), got.Bytes())
			require.Equal(t, 1024*900*time.Millisecond, time.Since(start))
			requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})
		})
}

// A server is not blamed for a caller who takes his time.
func TestSlowReader(t *testing.T) {
	bubble(t, stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second},
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
			resp, err := get(t, c, bubbleURL)
			require.NoError(t, err)
			defer resp.Body.Close()
			for err == nil {
				time.Sleep(time.Minute)
				_, err = io.CopyN(io.Discard, resp.Body, 100_000)
			}
			require.ErrorIs(t, err, io.EOF)
			requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})
		})
}

// A server that stalls after the caller has taken his time has as long as any other.
//
// Contract: 35
func TestStallAfterAPause(t *testing.T) {
	for name, cfg := range map[string]stabilityhttp.TransportConfig{
		"both limits":             {Timeout: time.Hour, StallTimeout: 3 * time.Second},
		"no limit to the request": {Off: stabilityhttp.PartTimeout, StallTimeout: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, cfg, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "begun")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
				resp, err := get(t, c, bubbleURL)
				require.NoError(t, err)
				defer resp.Body.Close()
				_, err = io.ReadFull(resp.Body, make([]byte, len("begun")))
				require.NoError(t, err)
				time.Sleep(time.Minute)
				start := time.Now()
				_, err = resp.Body.Read(make([]byte, 1))
				require.ErrorIs(t, err, timeout.ErrExceeded)
				require.Equal(t, 3*time.Second, time.Since(start))
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
			})
		})
	}
}

// Contract: 6, 19, 20, 35
func TestTimeLimits(t *testing.T) {
	stall := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(900 * time.Millisecond); ; { // never at the moment of a limit
			select {
			case <-tick.C:
				_, _ = io.WriteString(w, ".")
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				tick.Stop()
				return
			}
		}
	}
	callers := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 2*time.Second)
	}
	canceled := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(2*time.Second, cancel)
		return ctx, cancel
	}
	unlimited := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	for _, c := range []struct {
		name    string
		path    string
		handler http.HandlerFunc
		context func() (context.Context, context.CancelFunc)
		took    time.Duration
		is      error
		ours    bool
		calls   stability.Calls
	}{
		{"no headers within the stall timeout", "", stall, unlimited, 3 * time.Second, context.DeadlineExceeded, true, stability.Calls{Failed: 1}},
		{"a stalled body", "body", stall, unlimited, 3 * time.Second, context.DeadlineExceeded, true, stability.Calls{Failed: 1}},
		{"a body that never ends", "", drip, unlimited, 10 * time.Second, context.DeadlineExceeded, true, stability.Calls{Failed: 1}},
		{"the caller's deadline", "", stall, callers, 2 * time.Second, context.DeadlineExceeded, false, stability.Calls{Failed: 1}},
		{"the caller's deadline in the body", "", drip, callers, 2 * time.Second, context.DeadlineExceeded, false, stability.Calls{Failed: 1}},
		{"the caller's cancel", "", stall, canceled, 2 * time.Second, context.Canceled, false, stability.Calls{Ignored: 1}},
		{"the caller's cancel in the body", "body", stall, canceled, 2 * time.Second, context.Canceled, false, stability.Calls{Ignored: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := gatesOnly
			cfg.Name, cfg.Timeout, cfg.StallTimeout = "inventory", 10*time.Second, 3*time.Second
			bubble(t, cfg, c.handler, func(t *testing.T, client *http.Client, rt *stabilityhttp.Transport) {
				ctx, cancel := c.context()
				defer cancel()
				start := time.Now()
				resp, err := client.Do(newRequest(t, http.MethodGet, bubbleURL+c.path, nil).WithContext(ctx))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				require.Equal(t, c.took, time.Since(start))
				require.ErrorIs(t, err, c.is)
				require.Equal(t, c.ours, errors.Is(err, timeout.ErrExceeded), "%v", err)
				var timedOut net.Error
				require.Equal(t, c.is == context.DeadlineExceeded, errors.As(err, &timedOut) && timedOut.Timeout())
				if c.ours {
					require.Contains(t, err.Error(), "inventory[upstream.test:80]: timeout: exceeded "+c.took.String())
				}
				synctest.Wait()
				requireCalls(t, rt, bubbleURL, c.calls)
				attempts := rt.Stats().Attempts
				require.Equal(t, c.calls, attempts.Calls)
				require.Equal(t, c.ours, attempts.Exceeded == 1)
				require.Equal(t, 3*time.Second, attempts.After)
			})
		})
	}
}

// The base sees the deadline of the request as that of its context.
//
// Contract: 20
func TestDeadline(t *testing.T) {
	var seen time.Time
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		seen, _ = req.Context().Deadline()
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Timeout: 10 * time.Second})
		req := newRequest(t, http.MethodGet, bubbleURL, nil)
		_, err := rt.RoundTrip(req) //nolint:bodyclose // It is http.NoBody.
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(10*time.Second), seen)

		later, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = rt.RoundTrip(req.WithContext(later)) //nolint:bodyclose // It is http.NoBody.
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(10*time.Second), seen)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = rt.RoundTrip(req.WithContext(ctx)) //nolint:bodyclose // It is http.NoBody.
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Second), seen)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A body that the caller forgot holds its permit until the request's time is up,
// and not for ever.
func TestForgottenBody(t *testing.T) {
	cfg := gatesOnly
	cfg.Timeout = 10 * time.Second
	bubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
			resp, err := get(t, c, bubbleURL) //nolint:bodyclose // That is what this is about.
			require.NoError(t, err)
			time.Sleep(9 * time.Second)
			require.Equal(t, 1, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
			time.Sleep(time.Second)
			synctest.Wait()
			requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
			_, err = io.ReadAll(resp.Body)
			require.ErrorIs(t, err, timeout.ErrExceeded)

			ctx, cancel := context.WithCancel(t.Context())
			_, err = c.Do(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // As above.
			require.NoError(t, err)
			cancel()
			synctest.Wait()
			requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 2})
		})
}

// Failing statuses open the breaker, and reach the caller all the same, body and
// all. What the breaker then refuses is not sent.
func TestBreaker(t *testing.T) {
	cfg := gatesOnly
	cfg.Name = "inventory"
	cfg.Breaker = breaker.Config{Consecutive: 3}
	c, rt := newClient(t, cfg)
	sent := 0
	url := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		sent++
		http.Error(w, "out of order", http.StatusInternalServerError)
	})
	healthy := upstream(t, func(http.ResponseWriter, *http.Request) {})
	for range 3 {
		resp, err := get(t, c, url)
		require.NoError(t, err)
		require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "out of order\n", string(body))
	}
	_, err := get(t, c, url) //nolint:bodyclose // It is refused.
	var rejection *stability.Rejection
	require.ErrorAs(t, err, &rejection)
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.Equal(t, key(t, url), rejection.Key)
	require.Equal(t, "inventory", rejection.Name)
	require.Equal(t, 3, sent)

	gates := rt.Gates(key(t, url))
	require.Equal(t, breaker.Open, gates.Breaker.State())
	require.Equal(t, stability.Calls{Failed: 3, Rejected: 1}, gates.Breaker.Stats().Calls)
	require.Equal(t, stability.Calls{Failed: 3}, gates.Bulkhead.Stats().Calls, "which is not even asked")

	resp, err := get(t, c, healthy) // another host is another matter
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, breaker.GroupStats{
		Calls: stability.Calls{Succeeded: 1, Failed: 3, Rejected: 1}, Closed: 1, Open: 1,
	}, rt.Stats().Breaker)
}

// A probe is not given up before its request is.
//
// Contract: 1
func TestSlowProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusInternalServerError
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("body"))}, nil
		}), stabilityhttp.TransportConfig{Timeout: 2 * time.Minute, Breaker: breaker.Config{Consecutive: 1}})
		send := func(pause time.Duration) {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			time.Sleep(pause)
			require.NoError(t, resp.Body.Close())
		}
		send(0)
		require.Equal(t, 1, rt.Stats().Breaker.Open)
		time.Sleep(time.Minute)
		status = http.StatusOK
		send(100 * time.Second)
		require.Equal(t, 1, rt.Stats().Breaker.Closed)
	})
}

func TestBulkhead(t *testing.T) {
	cfg := gatesOnly
	cfg.Bulkhead = bulkhead.Config{Limit: 1, Queue: 1, MaxWait: time.Second}
	bubble(t, cfg, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
			first, err := get(t, c, bubbleURL)
			require.NoError(t, err)
			start := time.Now()
			body := &closeCounter{Reader: strings.NewReader("order")}
			_, err = c.Do(newRequest(t, http.MethodPost, bubbleURL, body)) //nolint:bodyclose // It is refused.
			require.ErrorIs(t, err, bulkhead.ErrFull)
			require.Equal(t, time.Second, time.Since(start))
			require.Equal(t, 1, body.closed, "a request that is refused is over, and its body closed")
			time.AfterFunc(time.Second/2, func() { first.Body.Close() })
			second, err := get(t, c, bubbleURL)
			require.NoError(t, err)
			require.NoError(t, second.Body.Close())
			require.Equal(t, stability.Calls{Succeeded: 2, Rejected: 1}, rt.Gates("upstream.test:80").Bulkhead.Stats().Calls)
		})
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error {
	c.closed++
	return nil
}

// Whatever happens inside, what was taken is given back, and the panic goes on.
//
// Contract: 2, 14
func TestPanickingBase(t *testing.T) {
	base := roundTripper(func(*http.Request) (*http.Response, error) { panic("the base") })
	rt := stabilityhttp.NewTransport(base, gatesOnly)
	panics := func(rt *stabilityhttp.Transport, value string) {
		body := &closeCounter{Reader: strings.NewReader("order")}
		require.PanicsWithValue(t, value, func() {
			_, _ = rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, body)) //nolint:bodyclose // It panics.
		})
		require.Positive(t, body.closed)
	}
	panics(rt, "the base")
	requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})

	cfg := gatesOnly
	cfg.Key = func(*http.Request) string { panic("the user's key") }
	panics(stabilityhttp.NewTransport(base, cfg), "the user's key")

	cfg = gatesOnly
	cfg.Classify = func(_ *http.Response, err error) stability.Outcome {
		if err == nil {
			return stability.Success
		}
		panic("the user's function")
	}
	base = func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))}, nil
	}
	rt = stabilityhttp.NewTransport(base, cfg)
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
	require.NoError(t, err)
	require.PanicsWithValue(t, "the user's function", func() { _, _ = io.ReadAll(resp.Body) })
	requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
	require.NoError(t, resp.Body.Close())

	answer := &closeCounter{Reader: strings.NewReader("fine")}
	base = func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: answer}, nil
	}
	cfg.Classify = func(*http.Response, error) stability.Outcome { panic("the user's function") }
	rt = stabilityhttp.NewTransport(base, cfg)
	require.PanicsWithValue(t, "the user's function", func() {
		_, _ = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It panics.
	})
	require.Equal(t, 1, answer.closed)
	requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
}

// However many hosts there are, what is kept of them is bounded, and each request has
// its gates, and counts.
//
// Contract: 42
func TestManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts, kept = 10_000, 100
		cfg := gatesOnly
		cfg.RateLimit.Rate = 1e6
		cfg.Keys = stability.Keys{Max: kept}
		base := &answers{t: t, all: []any{200}}
		rt := stabilityhttp.NewTransport(base, cfg)
		for i := range hosts {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, fmt.Sprintf("http://upstream%d.test/", i), nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.Equal(t, hosts, base.calls)
		require.Zero(t, base.open)
		s := rt.Stats()
		want := stability.Calls{Succeeded: hosts}
		require.Equal(t, []stability.Calls{want, want, want, want},
			[]stability.Calls{s.Attempts.Calls, s.RateLimit.Calls, s.Bulkhead.Calls, s.Breaker.Calls})
		require.Zero(t, s.Bulkhead.InUse)
		require.LessOrEqual(t, s.Breaker.Closed, kept+1, "and the one that the others share")
		require.LessOrEqual(t, s.Bulkhead.Limit, 100*(kept+1))
	})
}

// What the base must not do, and the caller must not see.
//
// Contract: 37
func TestResponseXorError(t *testing.T) {
	lost := &closeCounter{Reader: strings.NewReader("")}
	failed := errors.New("failed")
	rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{Body: lost}, failed
	}), gatesOnly)
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
	require.Nil(t, resp)
	require.ErrorIs(t, err, failed)
	require.Equal(t, 1, lost.closed)

	rt = stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }), gatesOnly)
	body := &closeCounter{Reader: strings.NewReader("order")}
	resp, err = rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, body)) //nolint:bodyclose // There is none.
	require.Nil(t, resp)
	require.Equal(t, 1, body.closed)
	require.ErrorContains(t, err, "roundTripper returned neither a response nor an error")
	requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})

	rt = stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK}, nil
	}), gatesOnly)
	resp, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It is http.NoBody.
	require.NoError(t, err)
	require.Equal(t, http.NoBody, resp.Body)
	requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})
}

// A request that the caller made wrong says nothing about the host. net/http tells
// it by no more than a text, which this test holds on to.
func TestMalformedRequest(t *testing.T) {
	rt := stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{})
	header := newRequest(t, http.MethodGet, bubbleURL, nil)
	header.Header["X-Bad"] = []string{"a\nb"}
	method := newRequest(t, http.MethodGet, bubbleURL, nil)
	method.Method = "GET IT"
	for _, req := range []*http.Request{header, method} {
		_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
		require.ErrorContains(t, err, "invalid")
	}
	requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 2})

	body := &closeCounter{Reader: strings.NewReader("x")}
	elsewhere := newRequest(t, http.MethodPut, "gopher://upstream.test/", body)
	_, err := rt.RoundTrip(elsewhere) //nolint:bodyclose // There is none.
	require.ErrorContains(t, err, "unsupported protocol scheme")
	require.Equal(t, 1, body.closed)
	body.closed = 0
	_, err = rt.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http"}, Header: http.Header{}, Body: body}) //nolint:bodyclose // There is none.
	require.ErrorContains(t, err, "no Host")
	require.Equal(t, 1, body.closed)
	body.closed = 0
	_, err = rt.RoundTrip(&http.Request{Body: body}) //nolint:bodyclose // There is none.
	require.ErrorContains(t, err, "nil Request.URL")
	require.Equal(t, 1, body.closed)
}
