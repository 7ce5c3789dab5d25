package stabilityhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// The context ended while the headers were on their way from the base to the caller:
// too early for what waits for the end of a body, and nobody else saw to a body that
// the caller then forgot. The permit was lost.
func TestContextEndsAsTheHeadersCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("late"))}, nil
		}), gatesOnly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // That is what this is about.
		require.NoError(t, err)
		requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
	})
}

// The context ended during a Read that brought data all the same. The end of the
// context had left the end of the attempt to the Read, and the Read to the next one,
// which never came. The permit was lost.
func TestContextEndsDuringTheLastRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func(p []byte) (int, error) {
				<-req.Context().Done()
				synctest.Wait()
				return len(p), nil
			}))}, nil
		}), gatesOnly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // That is what this is about.
		require.NoError(t, err)
		n, err := resp.Body.Read(make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 10, n)
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
	})
}

// The base's body panicked while Close read what was left of it. Close had noted that
// it had begun, so nobody else gave back what the attempt had taken.
func TestBodyPanicsInClose(t *testing.T) {
	rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1,
			Body: io.NopCloser(readerFunc(func([]byte) (int, error) { panic("the base") })),
		}, nil
	}), gatesOnly)
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
	require.NoError(t, err)
	require.PanicsWithValue(t, "the base", func() { _ = resp.Body.Close() })
	require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
	require.NoError(t, resp.Body.Close())
}

// Close gives a body that does not end some milliseconds. They passed for the time
// limit of the request: a failing status counted as a timeout, and who read after the
// Close was told that 30 s had passed.
func TestCloseIsNoTimeout(t *testing.T) {
	bubble(t, gatesOnly, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
		resp, err := get(t, c, bubbleURL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		_, err = resp.Body.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
		attempts := rt.Stats().Attempts
		require.EqualValues(t, 1, attempts.Failed)
		require.Zero(t, attempts.Exceeded)
	})
}

// A base that looks at the error of its context now and then, and waits for nothing,
// never saw that the time was up: only Done set the timer.
//
// Contract: 20
func TestBaseThatPolls(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  stabilityhttp.TransportConfig
		took time.Duration
	}{
		"the total timeout": {stabilityhttp.TransportConfig{Timeout: 5 * time.Second, Off: stabilityhttp.PartRetry | stabilityhttp.PartStallTimeout}, 5 * time.Second},
		"the stall timeout": {stabilityhttp.TransportConfig{StallTimeout: 3 * time.Second, Off: stabilityhttp.PartRetry}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					for req.Context().Err() == nil && time.Since(start) < time.Hour {
						time.Sleep(time.Second)
					}
					return nil, req.Context().Err()
				}), c.cfg)
				_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
				require.ErrorIs(t, err, timeout.ErrExceeded)
				require.Equal(t, c.took, time.Since(start))
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
			})
		})
	}
}

// net/http sends a request again by itself where a connection turns out dead, with a
// body that it has from GetBody. The time limit did not know that one, and counted the
// caller's time for it as the server's.
//
// Contract: 36
func TestBodySentAgainByTheBase(t *testing.T) {
	slow := func() io.ReadCloser {
		return io.NopCloser(io.LimitReader(readerFunc(func(p []byte) (int, error) {
			time.Sleep(time.Minute)
			return copy(p, "a piece"), nil
		}), 70))
	}
	send := func(t *testing.T, getBody func() (io.ReadCloser, error)) error {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			context.AfterFunc(req.Context(), func() {}) // as net/http does; it sets the timer
			if _, err = io.Copy(io.Discard, again); err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, req.Context().Err()
		}), stabilityhttp.TransportConfig{Timeout: time.Hour, StallTimeout: time.Second})
		req := newRequest(t, http.MethodPut, bubbleURL, slow())
		req.GetBody = getBody
		_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
		return err
	}
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, send(t, func() (io.ReadCloser, error) { return slow(), nil }))
	})
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("gone")
		require.ErrorIs(t, send(t, func() (io.ReadCloser, error) { return nil, failed }), failed)
	})
}

// A response that might have been made again after left the gates with its headers.
// Where it turned out to be the last, its body was read outside of them.
//
// Contract: 35
func TestTheLastResponseHoldsTheGates(t *testing.T) {
	for name, cfg := range map[string]retry.Config{
		"attempts": {Attempts: 2},
		"budget":   {Budget: retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: 0.1})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{t: t, all: []any{503}}
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Retry: cfg})
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
				require.NoError(t, err)
				require.Equal(t, 2, base.calls)
				require.Equal(t, 1, base.open)
				require.Equal(t, 1, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
				require.EqualValues(t, 2, rt.Gates("upstream.test:80").Breaker.Stats().Failed, "as soon as its headers have come")
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "answer 2", string(body))
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 2})
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}

// Where a response had both fields, the retry waited for Retry-After and the quota
// for RateLimit: the second attempt was refused by the client itself. Retry-After
// takes precedence.
//
// Contract: 38
func TestRetryAfterBesideRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{429, 200}}
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := base.RoundTrip(req)
			if resp.StatusCode == http.StatusTooManyRequests {
				resp.Header.Set("Retry-After", "2")
				resp.Header.Set("RateLimit", `"default";r=0;t=20`)
			}
			return resp, err
		}), stabilityhttp.TransportConfig{})
		start := time.Now()
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.Less(t, time.Since(start), 4*time.Second, "two seconds, up to half as much again, and the backoff")
	})
}

// A body shorter or longer than its ContentLength is the caller's mistake. It was sent
// three times, and each counted as a failure of the server.
func TestBodyOfAnotherLength(t *testing.T) {
	for _, protocol := range protocols {
		for _, body := range []string{"abc", "abcdefghijklmnopqrstuvwxyz"} {
			if protocol == "HTTP/2.0" && len(body) < 10 {
				continue // net/http sends that as it is, and leaves it to the server
			}
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d bytes, stream %t", protocol, len(body), stream), func(t *testing.T) {
					url, client := listen(t, protocol, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						_, _ = io.Copy(io.Discard, r.Body)
						<-r.Context().Done()
						panic(http.ErrAbortHandler) // over TLS an answer might still arrive
					}))
					retried := false
					rt := stabilityhttp.NewTransport(client.Transport, stabilityhttp.TransportConfig{Retry: retry.Config{
						OnRetry: func(context.Context, error, time.Duration) { retried = true },
					}})
					var content io.Reader = strings.NewReader(body)
					if stream {
						content = io.MultiReader(content)
					}
					req := newRequest(t, http.MethodPut, url, content)
					req.ContentLength = 10
					_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
					require.Error(t, err)
					require.NotErrorIs(t, err, timeout.ErrExceeded)
					require.False(t, retried)
					requireCalls(t, rt, url, stability.Calls{Ignored: 1})
				})
			}
		}
	}
}

// The attempt's own time was over as the headers came, and the race's was not: the
// hedge took that for a call that had ended well, with neither a response nor an error.
//
// Contract: 32, 35
func TestHedgedAttemptEndsAsTheHeadersCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("late"))}, nil
		}), stabilityhttp.TransportConfig{StallTimeout: time.Second, Hedge: &hedge.Config{Delay: 10 * time.Second}})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NotNil(t, resp, "as without a hedge")
		require.NoError(t, resp.Body.Close())
		requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
	})
}

// The winner of a race kept the context of the race for its values, and with it the end
// of the race as its cause: a body that was read too late said that it was canceled,
// and not by whom.
//
// Contract: 19
func TestHedgedBodySaysWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(req.Context()) // as net/http does
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func([]byte) (int, error) {
				defer cancel()
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}))}, nil
		}), stabilityhttp.TransportConfig{Hedge: &hedge.Config{Delay: 10 * time.Second}})
		read := func(ctx context.Context) error {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx))
			require.NoError(t, err)
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			return err
		}
		timed, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := read(timed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, context.Canceled)

		caused, end := context.WithCancelCause(t.Context())
		mine := errors.New("mine")
		time.AfterFunc(time.Second, func() { end(mine) })
		require.ErrorIs(t, read(caused), mine)
	})
}

// The connection of a 101 could not be closed by halves, as that of net/http can: a
// ReverseProxy whose client had sent all cut the server's answer off.
func TestUpgradedConnectionIsClosedByHalves(t *testing.T) {
	counts := rawUpstream(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
		all, _ := io.ReadAll(conn)
		_, _ = fmt.Fprintf(conn, "%d bytes", len(all))
	})
	target, err := url.Parse(counts)
	require.NoError(t, err)
	_, rt := newClient(t, stabilityhttp.TransportConfig{})
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: rt})
	defer front.Close()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
	require.NoError(t, err)
	head := make([]byte, len("HTTP/1.1 101"))
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	all, _ := io.ReadAll(conn)
	require.True(t, strings.HasSuffix(string(all), "5 bytes"), "%q", all)

	upgraded := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: new(connection)}, nil
	}), gatesOnly)
	resp, err := upgraded.RoundTrip(newUpgrade(t, "count"))
	require.NoError(t, err)
	require.ErrorIs(t, resp.Body.(interface{ CloseWrite() error }).CloseWrite(), http.ErrNotSupported)
	require.NoError(t, resp.Body.Close())
}

// newUpgrade returns a request for an upgrade.
func newUpgrade(t testing.TB, protocol string) *http.Request {
	t.Helper()
	req := newRequest(t, http.MethodGet, bubbleURL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	return req
}

type connection struct{ closed bool }

func (*connection) Read([]byte) (int, error)    { return 0, io.EOF }
func (*connection) Write(p []byte) (int, error) { return len(p), nil }

func (c *connection) Close() error {
	c.closed = true
	return nil
}

// Of the requests that net/http does not send, some counted as failures of the host: a
// query with a line break in it, which may come from anybody, could open its breaker.
//
// Contract: 6
func TestWhatIsNotSentIsNotTheHostsFailure(t *testing.T) {
	u := upstream(t, func(http.ResponseWriter, *http.Request) {})
	for name, spoil := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "a b" },
		"field":  func(r *http.Request) { r.Header = http.Header{"A\n": {"b"}} },
		"value":  func(r *http.Request) { r.Header = http.Header{"A": {"b\n"}} },
		"query":  func(r *http.Request) { r.URL.RawQuery = "q=a\nb" },
		"opaque": func(r *http.Request) { r.URL.Opaque = "/a\nb" },
		"length": func(r *http.Request) { r.ContentLength = 5 },
		"trailer": func(r *http.Request) {
			r.Trailer = http.Header{"Content-Length": nil}
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("a")), -1
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, rt := newClient(t, stabilityhttp.TransportConfig{})
			req := newRequest(t, http.MethodGet, u, nil)
			spoil(req)
			_, err := do(c, req) //nolint:bodyclose // There is none.
			require.Error(t, err)
			requireCalls(t, rt, u, stability.Calls{Ignored: 1})
		})
	}
}

// A request with a longer header than the server of an HTTP/2 connection takes is not
// sent either.
//
// Contract: 6
func TestHeaderTooLongForHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2 = true
	s.Config.MaxHeaderBytes = 8 << 10
	s.StartTLS()
	defer s.Close()
	rt := stabilityhttp.NewTransport(s.Client().Transport, stabilityhttp.TransportConfig{})
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, s.URL, nil)) // which learns the limit
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	req := newRequest(t, http.MethodGet, s.URL, nil)
	req.Header.Set("X-Long", strings.Repeat("a", 20_000))
	_, err = rt.RoundTrip(req) //nolint:bodyclose // There is none.
	require.Error(t, err)
	requireCalls(t, rt, s.URL, stability.Calls{Succeeded: 1, Ignored: 1})
}

// A caller who does not go on with the upload is not the server's failure; and net/http,
// which over HTTP/1 waits for the Read that it is in, kept RoundTrip beyond Timeout.
//
// Contract: 6, 19
func TestStalledUpload(t *testing.T) {
	discard := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(discard))
		s.EnableHTTP2 = http2
		s.StartTLS()
		rt := stabilityhttp.NewTransport(s.Client().Transport, stabilityhttp.TransportConfig{Timeout: 200 * time.Millisecond, StallTimeout: 200 * time.Millisecond})
		r, w := io.Pipe()
		_, err := rt.RoundTrip(newRequest(t, http.MethodPost, s.URL, r)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, context.DeadlineExceeded, "whatever the server made of half a body")
		for err = nil; err == nil; { // the body is being closed
			_, err = w.Write([]byte("a"))
		}
		require.ErrorIs(t, err, io.ErrClosedPipe)
		s.Close()
	}
}

// That, without the real time that a handshake takes.
//
// Contract: 6, 19
func TestStalledUploadIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil // for half of it
		}), stabilityhttp.TransportConfig{Timeout: time.Second})
		r, w := io.Pipe()
		defer w.Close()
		_, err := rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, r)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, context.DeadlineExceeded)
		requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
	})
}

// A Read beside Close got what came after that which Close had read to keep the
// connection: a body with a hole in it, and no error.
//
// Contract: 35
func TestReadBesideClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces := make(chan byte)
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Body: io.NopCloser(readerFunc(func(p []byte) (int, error) {
				p[0] = <-pieces
				return 1, nil
			}))}, nil
		}), gatesOnly)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		go func() { _ = resp.Body.Close() }()
		synctest.Wait() // it is reading what is left
		pieces <- 'a'
		n, err := resp.Body.Read(make([]byte, 1))
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		require.Zero(t, n)
		close(pieces)
	})
}

// A base whose bodies do not end with their context kept Close for ever.
//
// Contract: 35
func TestCloseOfABodyThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Body: r}, nil
		}), gatesOnly)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, resp.Body.Close())
		require.LessOrEqual(t, time.Since(began), 11*time.Millisecond)
		requireCalls(t, rt, bubbleURL, stability.Calls{Succeeded: 1})
	})
}

// Request.Cancel, which is older than contexts, ends a request as they do. At the
// deadline it is http.Client.Timeout.
//
// Contract: 6
func TestRequestCancelIsTheCallers(t *testing.T) {
	asked := make(chan struct{}, 2)
	u := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	c, rt := newClient(t, gatesOnly)
	req := newRequest(t, http.MethodGet, u, nil)
	cancel := make(chan struct{})
	req.Cancel = cancel //nolint:staticcheck // Deprecated, and kept by net/http.
	go func() {
		<-asked
		close(cancel)
	}()
	_, err := do(c, req) //nolint:bodyclose // There is none.
	require.Error(t, err)
	requireCalls(t, rt, u, stability.Calls{Ignored: 1})

	c.Timeout = 50 * time.Millisecond
	_, err = get(t, c, u) //nolint:bodyclose // There is none.
	require.Error(t, err)
	requireCalls(t, rt, u, stability.Calls{Ignored: 1, Failed: 1})
}

// A function of the user's that panics after a response has come, and before it is
// the caller's, lost the response and what it held.
//
// Contract: 14, 35
func TestPanicAfterTheResponse(t *testing.T) {
	panics := func() { panic(errors.New("the user's")) }
	calls := 0
	for name, cfg := range map[string]stabilityhttp.TransportConfig{
		"Jitter": {Retry: retry.Config{Jitter: func(time.Duration) time.Duration { panics(); return 0 }}},
		"Budget": {Retry: retry.Config{Budget: retry.NewBudget(retry.BudgetConfig{Key: func(context.Context) string {
			if calls++; calls > 1 {
				panics()
			}
			return ""
		}})}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := new(connection)
				rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: body}, nil
				}), cfg)
				require.Panics(t, func() { _, _ = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) }) //nolint:bodyclose // There is none.
				require.True(t, body.closed)
				require.Zero(t, rt.Gates(key(t, bubbleURL)).Bulkhead.Stats().InUse)
			})
		})
	}

	t.Run("OnChange", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var conn *connection
			rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
				if conn == nil {
					return nil, net.ErrClosed
				}
				return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conn}, nil
			}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Breaker: breaker.Config{Consecutive: 1, OnChange: func(c breaker.Change) {
				if c.To == breaker.Closed {
					panics()
				}
			}}})
			_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
			require.Error(t, err)
			time.Sleep(10 * time.Second)
			conn = new(connection)
			require.Panics(t, func() { _, _ = rt.RoundTrip(newUpgrade(t, "echo")) }) //nolint:bodyclose // There is none.
			require.True(t, conn.closed)
			require.Zero(t, rt.Gates(key(t, bubbleURL)).Bulkhead.Stats().InUse)
		})
	})
}

// Where the body could not be had again, the error of the attempt before was lost.
//
// Contract: 28, 36
func TestGetBodyFailsAfterAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, gone := errors.New("down"), errors.New("gone")
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			_ = req.Body.Close()
			return nil, down
		}), stabilityhttp.TransportConfig{})
		req := newRequest(t, http.MethodPut, bubbleURL, strings.NewReader("a"))
		req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
		_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, gone)
		require.ErrorIs(t, err, down)
	})
}

// A retry that the breaker refused ended in a Rejection, which says that nothing was
// sent: the server had seen the request.
//
// Contract: 28, 29
func TestRefusedAfterAnAttempt(t *testing.T) {
	var sent sync.WaitGroup
	sent.Add(1)
	u := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		sent.Done() // once
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	c, _ := newClient(t, stabilityhttp.TransportConfig{Breaker: breaker.Config{Consecutive: 1}})
	_, err := get(t, c, u) //nolint:bodyclose // There is none.
	require.False(t, stability.Rejected(err))
	require.ErrorIs(t, err, retry.ErrRefused)
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.ErrorContains(t, err, "status 503")
	sent.Wait()
}

// The Handler passed on a copy of a request with a deadline. What net/http was to find
// in its own request stayed in the copy: temporary files of uploads were never removed,
// and middleware further out did not see the Pattern.
func TestHandlerHandsBackWhatTheRequestGot(t *testing.T) {
	for _, header := range []string{"", stabilityhttp.DeadlineHeader, stabilityhttp.AttemptHeader} {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /upload", func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1 << 10); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		})
		var form strings.Builder
		m := multipart.NewWriter(&form)
		f, err := m.CreateFormFile("file", "name")
		require.NoError(t, err)
		_, err = f.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.NoError(t, m.Close())
		r := httptest.NewRequest(http.MethodPost, "/upload", strings.NewReader(form.String()))
		r.Header.Set("Content-Type", m.FormDataContentType())
		if header != "" {
			r.Header.Set(header, "60000")
		}
		require.Panics(t, func() {
			stabilityhttp.NewHandler(mux, stabilityhttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
		})
		require.Equal(t, "POST /upload", r.Pattern)
		require.NotNil(t, r.MultipartForm)
		require.NoError(t, r.MultipartForm.RemoveAll())
	}
}

// A deadline header that is not to be believed went on to whoever is further in, and
// was believed there.
func TestDeadlineHeaderThatIsOffEndsHere(t *testing.T) {
	got := http.Header{}
	off := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }),
		stabilityhttp.HandlerConfig{Off: stabilityhttp.PartDeadlineHeader})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set(stabilityhttp.DeadlineHeader, "20")
	r.Header.Set("X-Other", "a")
	off.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, http.Header{"X-Other": {"a"}}, got)
	require.Equal(t, "20", r.Header.Get(stabilityhttp.DeadlineHeader), "the server's own is left as it was")
}

// A process whose permits all hang stayed ready where those who waited gave up before
// anybody was refused.
func TestSaturatedWhileAllGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Bulkhead: limit, SaturatedFor: 5 * time.Second})
		pass, err := limit.Enter(t.Context())
		require.NoError(t, err)
		for range 6 {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set(stabilityhttp.DeadlineHeader, "1000")
			guarded.ServeHTTP(w, r)
			require.Equal(t, http.StatusGatewayTimeout, w.Code)
		}
		require.ErrorIs(t, guarded.Ready(), stabilityhttp.ErrSaturated)
		require.NoError(t, pass.Done(nil))
		require.NoError(t, guarded.Ready())
	})
}

// A request was counted nowhere when the user's Client panicked, or its context, a
// middleware's, could not be compared.
//
// Contract: 43
func TestEveryRequestOfAHandlerIsCounted(t *testing.T) {
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
		RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 1}, stability.Keys{}),
		Client:    func(*http.Request) string { panic(errors.New("the user's")) },
	})
	require.Panics(t, func() { guarded.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
	require.Equal(t, stability.Calls{Failed: 1}, guarded.Stats().Calls)

	guarded = stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{})
	guarded.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(incomparable{t.Context(), nil}))
	require.Equal(t, stability.Calls{Succeeded: 1}, guarded.Stats().Calls)
}

type incomparable struct {
	context.Context
	_ map[string]int
}

// A field that was malformed became well-formed again by the number after it.
//
// Contract: 38
func TestMalformedRateLimitIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := &answers{t: t, all: []any{status{http.StatusTooManyRequests, "RateLimit", `"x";r=0;t=60;=1.5`}, http.StatusOK}}
		rt := stabilityhttp.NewTransport(answers, stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry})
		for range 2 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
	})
}

// The upload of a request whose time is over could still be read, for as long as the
// caller took to write it.
//
// Contract: 19
func TestUploadIsNotReadAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second) // fetches a token first
			_, err := io.ReadAll(req.Body)
			_ = req.Body.Close()
			return nil, err
		}), stabilityhttp.TransportConfig{Timeout: time.Second})
		r, w := io.Pipe()
		defer w.Close()
		_, err := rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, r)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Close near the end of the request's time left a body that does not end to itself, and
// closed one that ends with its context twice, once during a Read.
//
// Contract: 35
func TestCloseClosesOnce(t *testing.T) {
	for name, spent := range map[string]time.Duration{"at once": 0, "near the deadline": time.Second - 5*time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closes := 0
				r, w := io.Pipe()
				defer w.Close()
				var ctx context.Context
				ends := readerFunc(func([]byte) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
				for _, body := range []io.Reader{r, ends} {
					rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
						ctx = req.Context()
						return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Body: &countedBody{body, &closes}}, nil
					}), stabilityhttp.TransportConfig{Timeout: time.Second})
					resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
					require.NoError(t, err)
					time.Sleep(spent)
					require.NoError(t, resp.Body.Close())
					require.NoError(t, resp.Body.Close())
					synctest.Wait()
				}
				require.Equal(t, 2, closes)
			})
		})
	}
}

type countedBody struct {
	io.Reader
	closes *int
}

func (b *countedBody) Close() error {
	*b.closes++
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// The context of a request that lost a race did not say so any more.
//
// Contract: 32
func TestLoserKnowsThatItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 1)
		var sent atomic.Int32
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if sent.Add(1) == 1 {
				<-req.Context().Done()
				causes <- context.Cause(req.Context())
				return nil, req.Context().Err()
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, nil
		}), stabilityhttp.TransportConfig{Hedge: &hedge.Config{Delay: time.Second}})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.ErrorIs(t, <-causes, hedge.ErrLost)
	})
}
