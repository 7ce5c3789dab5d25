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
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
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
		require.False(t, strings.Contains(w.Body.String(), "page"))
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
