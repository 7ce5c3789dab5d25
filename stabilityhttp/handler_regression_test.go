package stabilityhttp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// A client that had sent everything and closed its half of the connection, as nc -N and
// old health checks do, got 499 instead of its answer wherever a middleware took so long
// that the server had seen the end. What needs not wait is served.
//
// Contract: 46
func TestHalfClosedClientIsAnswered(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 1, Burst: 1000}, stability.Keys{})
	guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != context.Canceled {
			t.Error("the handler sees the context as it is:", r.Context().Err())
		}
		_, _ = io.WriteString(w, "served")
	}), stabilityhttp.HandlerConfig{RateLimit: limits, Bulkhead: bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1}), MaxTimeout: time.Minute})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // the middleware's millisecond
		guarded.ServeHTTP(w, r)
	}))
	defer s.Close()
	for range 200 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "served", string(body))
	}
	require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Ignored: 200}}, guarded.Stats())
}

// The same client at a full bulkhead: it is refused as everybody is, and as one that has
// left only where it would have to wait.
func TestHalfClosedClientDoesNotWait(t *testing.T) {
	for queue, want := range map[int]int{0: http.StatusServiceUnavailable, 1: 499} {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: queue})
		pass, err := limit.Enter(t.Context())
		require.NoError(t, err)
		guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Bulkhead: limit})
		ctx, leave := context.WithCancel(t.Context())
		leave()
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		require.Equal(t, want, w.Code)
		require.NoError(t, pass.Done(nil))
	}
}

// Where a permit came free in the instant in which a request found none, the request did
// not wait and got 499 all the same, once in a while: it had looked for how to wait. So did
// one that found the queue full.
func TestHalfClosedClientIsNotSaidToHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), stabilityhttp.HandlerConfig{Bulkhead: limit})
		gone, leave := context.WithCancel(t.Context())
		leave()
		ask := func(ctx context.Context) int {
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
			return w.Code
		}
		pass, err := limit.Enter(t.Context())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, ask(whenWaiting{gone, func() { _ = pass.Done(nil) }}))

		pass, err = limit.Enter(t.Context())
		require.NoError(t, err)
		go ask(t.Context())
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, ask(gone))
		require.NoError(t, pass.Done(nil))
		synctest.Wait()
		require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 1, Ignored: 1, Rejected: 1}, Full: 1}, guarded.Stats())
	})
}

// whenWaiting is a context that tells when somebody is about to wait for its end.
type whenWaiting struct {
	context.Context
	f func()
}

func (c whenWaiting) Done() <-chan struct{} {
	c.f()
	return c.Context.Done()
}

// A client that left in the midst of a download through a ReverseProxy, which then
// panics, was a failure of the server's.
//
// Contract: 40
func TestClientThatLeavesADownload(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := memoryUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					for r.Context().Err() == nil {
						if _, err := w.Write(make([]byte, 1<<16)); err != nil {
							return
						}
					}
				})
				guarded := stabilityhttp.NewHandler(&httputil.ReverseProxy{
					Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream.test" },
					Transport: upstream,
				}, stabilityhttp.HandlerConfig{MaxTimeout: time.Hour})
				url, client := listenInMemory(t, protocol, guarded)
				resp, err := get(t, client, url)
				require.NoError(t, err)
				_, err = io.ReadFull(resp.Body, make([]byte, 1<<20))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				client.CloseIdleConnections()
				synctest.Wait()
				require.Equal(t, stability.Calls{Ignored: 1}, guarded.Stats().Calls)
			})
		})
	}
}

// A handler that panics by itself has failed, and so has one whose time was over.
func TestPanicThatNoClientCaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				<-r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		}), stabilityhttp.HandlerConfig{MaxTimeout: time.Second})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		for _, path := range []string{"/", "/late"} {
			_, _, err := tryAsk(t.Context(), client, url+path)
			require.Error(t, err)
		}
		synctest.Wait()
		require.Equal(t, stability.Calls{Failed: 2}, guarded.Stats().Calls)
	})
}

// A middleware says for how long the page may be cached, and one request whose deadline
// has passed is refused in its place. The refusal kept what was said of the page: a cache
// gave it to everybody for an hour.
//
// Contract: 38
func TestRefusalIsNoPage(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 1}, stability.Keys{})
	full := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1, MaxWait: time.Millisecond})
	pass, err := full.Enter(t.Context())
	require.NoError(t, err)
	defer func() { _ = pass.Done(nil) }()
	require.True(t, limits.Get("spent").Allow())
	gone, leave := context.WithCancel(t.Context())
	leave()
	for status, c := range map[int]struct {
		cfg stabilityhttp.HandlerConfig
		ctx context.Context
	}{
		http.StatusGatewayTimeout:     {stabilityhttp.HandlerConfig{}, t.Context()},
		http.StatusTooManyRequests:    {stabilityhttp.HandlerConfig{RateLimit: limits, Client: func(*http.Request) string { return "spent" }}, t.Context()},
		http.StatusServiceUnavailable: {stabilityhttp.HandlerConfig{Bulkhead: full}, t.Context()},
		499:                           {stabilityhttp.HandlerConfig{Bulkhead: full}, gone},
	} {
		w := httptest.NewRecorder()
		page := map[string]string{
			"Cache-Control": "public, max-age=3600", "Cdn-Cache-Control": "max-age=3600", "Cloudflare-Cdn-Cache-Control": "max-age=3600",
			"Surrogate-Control": "max-age=3600", "X-Accel-Expires": "3600", "X-Accel-Redirect": "/page", "Expires": "Fri, 31 Dec 9999 23:59:59 GMT",
			"Pragma": "cache", "Age": "1", "Etag": `"page"`, "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "Content-Length": "4711",
			"Content-Encoding": "br", "Content-Range": "bytes 0-1/2", "Accept-Ranges": "bytes", "Content-Disposition": "attachment",
			"Content-Digest": "sha-256=:YQ==:", "Content-Language": "de", "Link": "</style.css>; rel=preload",
		}
		for name, value := range page {
			w.Header().Set(name, value)
		}
		kept := http.Header{"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"*"}, "Set-Cookie": {"session=new"}, "X-Request-Id": {"7"}}
		for name, values := range kept {
			w.Header()[name] = values
		}
		r := httptest.NewRequestWithContext(c.ctx, http.MethodGet, "/", nil)
		if status == http.StatusGatewayTimeout {
			r.Header.Set(stabilityhttp.DeadlineHeader, "1")
		}
		stabilityhttp.NewHandler(http.NotFoundHandler(), c.cfg).ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		for name := range page {
			if name != "Cache-Control" {
				require.Empty(t, w.Header().Values(name), "%d: %s", status, name)
			}
		}
		for name, values := range kept {
			require.Equal(t, values, w.Header()[name])
		}
		require.NotContains(t, w.Body.String(), "page")
	}
}

// Three hundred clients were refused at the same moment and told the same second: 280 of
// them came back within 50ms, and most were refused again. Each is told another time, to
// the millisecond, and clients that read whole seconds only do not all get the same.
//
// Contract: 52
func TestRefusedClientsAreToldDifferentTimes(t *testing.T) {
	limit := bulkhead.New(bulkhead.Config{Limit: 1})
	pass, err := limit.Enter(t.Context())
	require.NoError(t, err)
	defer func() { _ = pass.Done(nil) }()
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Bulkhead: limit})
	slots, seconds := map[int]int{}, map[string]int{}
	for range 300 {
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		ms, err := strconv.Atoi(w.Header().Get(stabilityhttp.RetryAfterMsHeader))
		require.NoError(t, err)
		slots[ms/50]++
		seconds[w.Header().Get("Retry-After")]++
	}
	for slot, n := range slots {
		require.Less(t, n, 75, "come back within the 50ms from %d", slot*50)
	}
	for s, n := range seconds {
		require.Less(t, n, 200, "come back after %s s", s)
	}
}

// The 5ms until the next of 200 tokens a second were told as "nothing is left for a
// second", and a client of ours refused itself for that long: half of what was allowed.
//
// Contract: 46
func TestQuotaThatIsBackInMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
			RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 200, Burst: 1}, stability.Keys{}),
		})
		for _, want := range []int{http.StatusNotFound, http.StatusTooManyRequests} {
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			require.Equal(t, want, w.Code)
			require.Equal(t, `"default";r=200;t=1`, w.Header().Get("RateLimit"))
			if want == http.StatusTooManyRequests {
				ms, err := strconv.Atoi(w.Header().Get(stabilityhttp.RetryAfterMsHeader))
				require.NoError(t, err)
				require.GreaterOrEqual(t, ms, 5)
				require.LessOrEqual(t, ms, 8)
			}
		}
	})
}

// A WebSocket through Transport, Handler and ReverseProxy was cut when the time of the
// request that asked for it was over, after 30s by default, although the documents said
// that it is without time limits. Its time ends where the connection is hijacked.
//
// Contract: 37
func TestUpgradeOutlivesItsRequest(t *testing.T) {
	for name, cfg := range map[string]stabilityhttp.HandlerConfig{
		"the client's deadline": {}, "MaxTimeout": {MaxTimeout: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leaf := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, limited := r.Context().Deadline(); !limited {
						t.Error("the request has a deadline before")
					}
					conn, buf, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					if _, limited := r.Context().Deadline(); limited {
						t.Error("and the connection has none")
					}
					_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
					_ = buf.Flush()
					_, _ = io.Copy(conn, buf)
				}), cfg)
				proxy := stabilityhttp.NewHandler(&httputil.ReverseProxy{
					Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream.test" },
					Transport: stabilityhttp.NewTransport(memoryUpstream(t, leaf.ServeHTTP), stabilityhttp.TransportConfig{}),
				}, cfg)
				client := stabilityhttp.NewTransport(memoryUpstream(t, proxy.ServeHTTP), stabilityhttp.TransportConfig{})
				req := newRequest(t, http.MethodGet, bubbleURL, nil)
				req.Header.Set("Connection", "keep-alive, upgrade")
				req.Header.Set("Upgrade", "echo")
				resp, err := client.RoundTrip(req)
				require.NoError(t, err)
				require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
				conn := resp.Body.(io.ReadWriteCloser)
				for range 3 {
					_, err = io.WriteString(conn, "hello")
					require.NoError(t, err)
					buf := make([]byte, 5)
					_, err = io.ReadFull(conn, buf)
					require.NoError(t, err)
					require.Equal(t, "hello", string(buf))
					time.Sleep(time.Hour)
				}
				require.NoError(t, conn.Close())
				synctest.Wait()
				// The network in memory cancels the request as the client closes, at once with the
				// end of the connection, which no server does after a Hijack: Ignored is as right.
				require.EqualValues(t, 1, leaf.Stats().Started())
				require.Zero(t, leaf.Stats().Failed)
				require.EqualValues(t, 1, proxy.Stats().Started())
			})
		})
	}
}

// A request for an upgrade that is not hijacked has its deadline as every other, also in
// what its handler derives from its context.
func TestUpgradeThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			<-ctx.Done()
			if err := ctx.Err(); err != context.DeadlineExceeded {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "not ")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("upgraded"))
		}), stabilityhttp.HandlerConfig{MaxTimeout: time.Second})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		began := time.Now()
		resp, body := ask(t, client, url, "Connection", "Upgrade", "Upgrade", "echo")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "not upgraded", body)
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, stability.Calls{Failed: 1}, guarded.Stats().Calls)

		gone, leave := context.WithTimeout(t.Context(), time.Second/2)
		defer leave()
		_, _, err := tryAsk(gone, client, url, "Connection", "Upgrade", "Upgrade", "echo", stabilityhttp.DeadlineHeader, "100")
		require.NoError(t, err, "the client's deadline")
	})
}

// Clients that send nothing or read nothing held the permits of a server for as long as
// they liked: a context ends neither a Read nor a Write.
//
// Contract: 40
func TestClientThatNeitherSendsNorReads(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := bulkhead.New(bulkhead.Config{Limit: 2})
				guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, err := io.Copy(io.Discard, r.Body)
					for err == nil {
						_, err = w.Write(make([]byte, 1<<16))
					}
				}), stabilityhttp.HandlerConfig{Bulkhead: limit, MaxTimeout: 10 * time.Second})
				url, client := listenInMemory(t, protocol, guarded)
				resp, err := get(t, client, url) // and its body is not read
				require.NoError(t, err)
				defer resp.Body.Close()
				upload, hold := io.Pipe()
				defer hold.Close()
				post := newRequest(t, http.MethodPost, url, upload)
				go func() {
					resp, err := do(client, post)
					if err == nil {
						resp.Body.Close()
					}
				}()
				synctest.Wait()
				require.Equal(t, 2, limit.Stats().InUse)
				time.Sleep(16 * time.Second)
				synctest.Wait()
				require.Zero(t, limit.Stats().InUse)
			})
		})
	}
}

// The bound of one request is none of the next on its connection.
func TestBoundEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}), stabilityhttp.HandlerConfig{MaxTimeout: time.Second})
		mux := http.NewServeMux()
		mux.Handle("/", guarded)
		mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour)
			if _, err := io.Copy(w, r.Body); err != nil {
				t.Error(err)
			}
			for range 3 {
				time.Sleep(time.Hour)
				_, _ = io.WriteString(w, ", more")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
		})
		m := serveInMemory(t, &http.Server{Handler: mux}) //nolint:gosec // Its clients are this test's.
		dials := 0
		base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return m.dial(ctx, network, addr)
		}}
		defer base.CloseIdleConnections()
		client := &http.Client{Transport: base}
		for range 2 {
			for _, path := range []string{"/", "/long"} {
				resp, err := do(client, newRequest(t, http.MethodPost, bubbleURL+path, strings.NewReader("upload")))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				if path == "/long" {
					require.Equal(t, "upload, more, more, more", string(body))
				}
			}
		}
		require.Equal(t, 1, dials)
	})
}

// What the server bounds itself stays bounded.
func TestBoundIsNoExtension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			if _, err := io.Copy(io.Discard, r.Body); err == nil || time.Since(began) != time.Second {
				t.Error("ReadTimeout:", err, time.Since(began))
			}
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(w, "too late")
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("WriteTimeout is over")
			}
		}), stabilityhttp.HandlerConfig{MaxTimeout: time.Hour})
		m := serveInMemory(t, &http.Server{Handler: guarded, ReadTimeout: time.Second, WriteTimeout: 2 * time.Second})
		base := &http.Transport{DialContext: m.dial}
		defer base.CloseIdleConnections()
		upload, hold := io.Pipe()
		time.AfterFunc(10*time.Second, func() { _ = hold.Close() }) // net/http waits for a Read
		resp, err := do(&http.Client{Transport: base}, newRequest(t, http.MethodPost, bubbleURL, upload))
		if err == nil {
			resp.Body.Close()
		}
		require.Error(t, err)
		require.EqualValues(t, 1, guarded.Stats().Started())
	})
}

// Trailers of a request that were not announced in its header were lost behind a Handler,
// which hands on a copy of the request.
func TestUnannouncedTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	s := httptest.NewServer(stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}), stabilityhttp.HandlerConfig{MaxTimeout: time.Minute}))
	defer s.Close()
	for _, announced := range []string{"", "Trailer: X-Checksum\r\n"} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+announced+
			"\r\n3\r\nabc\r\n0\r\nX-Checksum: 7\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, http.Header{"X-Checksum": {"7"}}, <-got)
		require.NoError(t, conn.Close())
	}
}

// A proxy behind a Handler handed the deadline on as it had come: what the request had
// spent in the queue was forgotten, and MaxTimeout, and which of several counts.
//
// Contract: 40
func TestDeadlineThatIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		var got []string
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = r.Header.Values(stabilityhttp.DeadlineHeader)
		}), stabilityhttp.HandlerConfig{Bulkhead: limit, MaxTimeout: 30 * time.Second})
		for _, c := range []struct {
			came   []string
			waited time.Duration
			want   string
		}{
			{[]string{"9000"}, 0, "9000"},
			{[]string{"9000"}, 2 * time.Second, "7000"},
			{[]string{"60000"}, 0, "30000"},
			{[]string{"60000", "x", "9000"}, time.Second, "8000"},
			{[]string{"9000,5000"}, 0, "5000"},
			{nil, time.Second, ""},
		} {
			pass, err := limit.Enter(t.Context())
			require.NoError(t, err)
			time.AfterFunc(c.waited, func() { _ = pass.Done(nil) })
			if c.waited == 0 {
				synctest.Wait()
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header[stabilityhttp.DeadlineHeader] = c.came
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, c.want, strings.Join(got, " "))
			require.Equal(t, c.came, r.Header[stabilityhttp.DeadlineHeader], "the server's request is as it was")
		}
	})
}

// An outside client said that its request was the second attempt, and with that turned off
// the retries of everything behind the edge; or how little time there was. Nobody vouches
// for it, so that neither is believed, nor passed further in.
//
// Contract: 31
func TestEdgeBelievesNothing(t *testing.T) {
	sent := http.Header{
		stabilityhttp.DeadlineHeader: {"1"}, "X-Patience": {"1"}, stabilityhttp.AttemptHeader: {"2"},
		"X-Request-Criticality": {"critical-plus"}, "X-Request-Caller": {"somebody else"},
	}
	for name, c := range map[string]struct {
		cfg   stabilityhttp.HandlerConfig
		calls int
		kept  int
	}{
		"edge":        {stabilityhttp.HandlerConfig{Edge: true, DeadlineHeader: "x-patience"}, 3, 0},
		"house":       {stabilityhttp.HandlerConfig{MinTimeout: 1}, 1, 5},
		"no deadline": {stabilityhttp.HandlerConfig{Off: stabilityhttp.PartDeadlineHeader}, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			var inner *http.Request
			toCall := newRequest(t, http.MethodGet, bubbleURL, nil)
			toLeaf := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
				calls++
				return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: http.NoBody}, nil
			}), stabilityhttp.TransportConfig{Retry: retry.Config{Base: 1, Max: 1}})
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inner = r
				resp, err := toLeaf.RoundTrip(toCall.WithContext(context.WithoutCancel(r.Context())))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			}), c.cfg)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for field, values := range sent {
				r.Header[field] = values
			}
			if name == "house" { // else there is hardly time
				r.Header[stabilityhttp.DeadlineHeader] = []string{"60000"}
			}
			r.Header.Set("X-Other", "kept")
			guarded.ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, c.calls, calls)
			require.Len(t, inner.Header, c.kept+1)
			require.Equal(t, []string{"kept"}, inner.Header["X-Other"])
			_, limited := inner.Context().Deadline()
			require.Equal(t, name == "house", limited)
			require.Len(t, r.Header, 6, "the server's request is as it was")
		})
	}
}

// A queue of a server started work that could not end any more: it took a second, and a
// request whose client gave it a second and a half waited for one of them. Three of four
// were cut in the midst of their work, and what they took others missed. The server learns
// how long the work takes, and refuses with the time to come back.
//
// Contract: 46
func TestHandlerStartsNothingThatCannotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Int64
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				cut.Add(1)
			}
		}), stabilityhttp.HandlerConfig{Bulkhead: bulkhead.New(bulkhead.Config{Limit: 1, Queue: 10})})
		send := func(left string) int {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set(stabilityhttp.DeadlineHeader, left)
			guarded.ServeHTTP(w, r)
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
				t.Error("when to come back?")
			}
			return w.Code
		}
		for range 3 {
			require.Equal(t, http.StatusOK, send("60000"), "it learns")
		}
		for range 5 {
			go send("60000")
			synctest.Wait()
			require.Equal(t, http.StatusServiceUnavailable, send("1500"))
			require.Equal(t, http.StatusOK, send("2500"))
		}
		require.Zero(t, cut.Load())
		require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 13, Rejected: 5}, Full: 5}, guarded.Stats())
	})
}
