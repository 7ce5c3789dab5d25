package stabilityhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

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

// A server that can do 100 requests a second got 250, refused the others with 503 and
// Retry-After as it should, and got hardly any from then on: the client's breaker took
// the refusals for failures, and opened on a server that was fine.
//
// Contract: 46, 47
func TestOverloadOpensNoBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served atomic.Int64
		server := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(100 * time.Millisecond)
			served.Add(1)
		}), stabilityhttp.HandlerConfig{Bulkhead: bulkhead.New(bulkhead.Config{Limit: 10, Queue: 10})})
		rt := stabilityhttp.NewTransport(memoryUpstream(t, server.ServeHTTP), stabilityhttp.TransportConfig{})
		var wg sync.WaitGroup
		const span = 10 * time.Second
		for began := time.Now(); time.Since(began) < span; time.Sleep(time.Second / 250) {
			wg.Go(func() {
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		require.GreaterOrEqual(t, served.Load(), int64(990), "of 1000 that it can do")
		wg.Wait()
		b := rt.Gates("upstream.test:80").Breaker.Stats()
		require.Zero(t, b.Opened)
		require.Zero(t, b.Failed)
	})
}

// What overload is: the server says that it is too much, and when to come back.
//
// Contract: 47
func TestWhatIsOverload(t *testing.T) {
	for _, c := range []struct {
		answer status
		want   stability.Outcome
	}{
		{status{429, "", ""}, stability.Ignored},
		{status{503, "Retry-After", "1"}, stability.Ignored},
		{status{503, "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, stability.Ignored},
		{status{503, "RateLimit", `"default";r=0;t=1`}, stability.Ignored},
		{status{503, "", ""}, stability.Failure},
		{status{503, "Retry-After", "soon"}, stability.Failure},
		{status{500, "Retry-After", "1"}, stability.Failure},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &answers{t: t, all: []any{c.answer, 200}}
			var told error
			cfg := stabilityhttp.TransportConfig{Off: stabilityhttp.PartQuota}
			cfg.Retry.OnRetry = func(_ context.Context, err error, _ time.Duration) { told = err }
			rt := stabilityhttp.NewTransport(base, cfg)
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			calls := rt.Gates("upstream.test:80").Breaker.Stats().Calls
			require.Equal(t, c.want == stability.Ignored, calls.Ignored == 1, "%+v: %+v", c.answer, calls)
			require.Equal(t, c.want == stability.Failure, calls.Failed == 1, "%+v: %+v", c.answer, calls)
			require.Equal(t, c.want == stability.Ignored, stability.Overloaded(told), "%+v", c.answer)

			base = &answers{t: t, all: []any{c.answer}}
			cfg = gatesOnly
			cfg.Classify = func(*http.Response, error) stability.Outcome { return stability.Failure }
			rt = stabilityhttp.NewTransport(base, cfg)
			resp, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1}) // where the user says so
		})
	}
}

// A host whose answers are long never recovered from an outage: a probe lasted as long as
// its body, its lease lapsed, and that was a failure. And a host that failed three
// requests of ten was shut out at a threshold of a half, since its failures counted as
// they began and its successes as they ended.
//
// Contract: 48
func TestHeadersAreTheAnswer(t *testing.T) {
	const took = time.Minute
	synctest.Test(t, func(t *testing.T) {
		code := http.StatusInternalServerError
		rt := stabilityhttp.NewTransport(memoryUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_ = http.NewResponseController(w).Flush()
			if code == http.StatusOK {
				for range took / time.Second {
					time.Sleep(time.Second)
					_, _ = io.WriteString(w, ".")
					_ = http.NewResponseController(w).Flush()
				}
			}
		}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Timeout: time.Hour, StallTimeout: 10 * time.Second, Breaker: breaker.Config{ProbeFor: 20 * time.Second}})
		var gates stabilityhttp.Gates
		for gates.Breaker.State() != breaker.Open {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			gates = rt.Gates("upstream.test:80")
		}
		code = http.StatusOK
		time.Sleep(5 * time.Second)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.Equal(t, breaker.Closed, gates.Breaker.State(), "as soon as the headers have come")
		require.Equal(t, 1, gates.Bulkhead.Stats().InUse, "the permit is held to the end")
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Len(t, b, int(took/time.Second))
		require.NoError(t, resp.Body.Close())
		require.Zero(t, gates.Bulkhead.Stats().InUse)
	})
}

// A failure counts with its headers too, so that neither is ahead of the other; and a
// body that breaks after a good beginning is a failure instead.
//
// Contract: 35, 48
func TestBodyThatBreaksAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		code, broken := http.StatusOK, io.ErrUnexpectedEOF
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) {
				return 0, broken
			})))}, nil
		}), gatesOnly)
		window := func() breaker.Counts { return rt.Gates("upstream.test:80").Breaker.Stats().Window }
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.Equal(t, breaker.Counts{Successes: 1}, window())
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, broken)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, breaker.Counts{Failures: 1}, window())
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})

		code = http.StatusBadGateway
		resp, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.Equal(t, breaker.Counts{Failures: 2}, window())
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, broken)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, breaker.Counts{Failures: 2}, window())
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 2})
	})
}

// A POST that takes 400 ms failed after a third of its second: for further attempts, of
// which there are none. Only where one may follow is there a third.
func TestStallTimeoutWithoutAnotherAttempt(t *testing.T) {
	const third = time.Second / 3
	for name, c := range map[string]struct {
		method string
		cfg    stabilityhttp.TransportConfig
		took   time.Duration // by the attempt that ends the request
		calls  int
	}{
		"a POST":                   {http.MethodPost, stabilityhttp.TransportConfig{}, time.Second, 1},
		"a GET":                    {http.MethodGet, stabilityhttp.TransportConfig{}, time.Second - 2*third, 3},
		"two attempts":             {http.MethodGet, stabilityhttp.TransportConfig{Retry: retry.Config{Attempts: 2}}, time.Second - third, 2},
		"without PartRetry":        {http.MethodGet, stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry}, time.Second, 1},
		"with a Retryable":         {http.MethodPost, stabilityhttp.TransportConfig{Retryable: always}, time.Second - 2*third, 3},
		"with a StallTimeout":      {http.MethodPost, stabilityhttp.TransportConfig{StallTimeout: 300 * time.Millisecond}, 300 * time.Millisecond, 1},
		"without PartStallTimeout": {http.MethodGet, stabilityhttp.TransportConfig{Off: stabilityhttp.PartStallTimeout}, time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, began := 0, time.Time{}
				c.cfg.Timeout = time.Second
				if c.cfg.Off&stabilityhttp.PartRetry == 0 {
					c.cfg.Retry.Jitter = func(time.Duration) time.Duration { return 0 }
				}
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					calls, began = calls+1, time.Now()
					<-req.Context().Done()
					return nil, req.Context().Err()
				}), c.cfg)
				_, err := rt.RoundTrip(newRequest(t, c.method, bubbleURL, nil)) //nolint:bodyclose // There is none.
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, c.calls, calls)
				require.InDelta(t, c.took, time.Since(began), 10)
			})
		})
	}
	bubble(t, stabilityhttp.TransportConfig{Timeout: time.Second}, func(http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) },
		func(t *testing.T, c *http.Client, _ *stabilityhttp.Transport) {
			resp, err := c.Do(newRequest(t, http.MethodPost, bubbleURL, strings.NewReader("order")))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		})
}

func always(*http.Request, *http.Response, error) bool { return true }

// A MaxPushback above a minute was as good as a minute.
func TestMaxPushbackAboveAMinute(t *testing.T) {
	for _, c := range []struct {
		most time.Duration
		want int
	}{{5 * time.Minute, 200}, {0, 503}} {
		synctest.Test(t, func(t *testing.T) {
			base := &answers{t: t, all: []any{status{503, "Retry-After", "240"}, 200}}
			rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Off: stabilityhttp.PartTimeout, Retry: retry.Config{MaxPushback: c.most}})
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.want, resp.StatusCode)
		})
	}
}

// A hundred requests over four connections to a healthy server that takes 100 ms: those
// that waited for a connection of the base's pool counted as stalled, 64 failed, and the
// breaker opened.
//
// Contract: 46
func TestWaitForAConnection(t *testing.T) {
	for name, cfg := range map[string]stabilityhttp.TransportConfig{
		"by default":           {Timeout: 5 * time.Second},
		"without the bulkhead": {Timeout: 5 * time.Second, Off: stabilityhttp.PartBulkhead},
		"stall":                {StallTimeout: 110 * time.Millisecond, Off: stabilityhttp.PartBulkhead | stabilityhttp.PartRetry},
	} {
		for _, foreign := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var served atomic.Int64
					pool := memoryUpstream(t, func(http.ResponseWriter, *http.Request) {
						time.Sleep(100 * time.Millisecond)
						served.Add(1)
					})
					pool.MaxConnsPerHost, pool.MaxIdleConnsPerHost = 4, 4
					var base http.RoundTripper = pool
					if foreign {
						base = roundTripper(func(req *http.Request) (*http.Response, error) { return pool.RoundTrip(req) })
					}
					rt := stabilityhttp.NewTransport(base, cfg)
					var wg sync.WaitGroup
					for range 100 {
						wg.Go(func() {
							resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
							if err != nil {
								t.Error(err)
								return
							}
							resp.Body.Close()
						})
					}
					wg.Wait()
					require.EqualValues(t, 100, served.Load())
					require.EqualValues(t, 100, rt.Gates("upstream.test:80").Breaker.Stats().Succeeded)
					if !foreign && cfg.Off&stabilityhttp.PartBulkhead == 0 {
						require.Equal(t, 4, rt.Gates("upstream.test:80").Bulkhead.Stats().Limit)
					}
				})
			})
		}
	}
}

// What is the host's of the time until there is a connection: its making, and not the wait
// for one that others have.
func TestStallOfAConnection(t *testing.T) {
	const patience = time.Second
	for name, c := range map[string]struct {
		until func(*httptrace.ClientTrace)
		took  time.Duration
	}{
		"queued, and never sent": {func(trace *httptrace.ClientTrace) { trace.GetConn("a:80") }, 30 * time.Second},
		"queued, then dialing": {func(trace *httptrace.ClientTrace) {
			trace.GetConn("a:80")
			time.Sleep(5 * time.Second)
			trace.ConnectStart("tcp", "192.0.2.1:80")
			time.Sleep(patience / 2)
			trace.ConnectStart("tcp", "192.0.2.2:80") // which does not start it anew
		}, 5*time.Second + patience},
		"resolving": {func(trace *httptrace.ClientTrace) {
			trace.GetConn("a:80")
			trace.DNSStart(httptrace.DNSStartInfo{Host: "a"})
		}, patience},
		"shaking hands": {func(trace *httptrace.ClientTrace) {
			trace.GetConn("a:80")
			trace.TLSHandshakeStart()
		}, patience},
		"sent": {func(trace *httptrace.ClientTrace) {
			trace.GetConn("a:80")
			time.Sleep(5 * time.Second)
			trace.ConnectStart("tcp", "192.0.2.1:80")
			time.Sleep(patience / 2)
			trace.GotConn(httptrace.GotConnInfo{})
		}, 5*time.Second + patience*3/2},
		"a base that tells nothing": {func(*httptrace.ClientTrace) {}, patience},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					c.until(httptrace.ContextClientTrace(req.Context()))
					<-req.Context().Done()
					return nil, req.Context().Err()
				}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, StallTimeout: patience})
				asked := ""
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(hostPort string) { asked = hostPort }})
				began := time.Now()
				_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // There is none.
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, c.took, time.Since(began))
				require.Equal(t, name != "a base that tells nothing", asked == "a:80", "the caller's trace is told")
			})
		})
	}
}

// A bulkhead with more permits than the base has connections lets requests wait for one.
func TestBulkheadFitsTheBase(t *testing.T) {
	four := &http.Transport{MaxConnsPerHost: 4}
	require.PanicsWithError(t, "stabilityhttp: TransportConfig.Bulkhead.Limit (5) is larger than MaxConnsPerHost of the base (4), so that requests with a permit wait for a connection: lower Limit, or raise MaxConnsPerHost",
		func() {
			stabilityhttp.NewTransport(four, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: 5}})
		})
	limit := func(base *http.Transport, cfg stabilityhttp.TransportConfig) (limit, queue int) {
		rt := stabilityhttp.NewTransport(base, cfg)
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, refusing(t), nil)) //nolint:bodyclose // There is none.
		require.Error(t, err)
		s := rt.Stats().Bulkhead // of its one host
		return s.Limit, s.QueueLimit
	}
	h2 := &http.Transport{MaxConnsPerHost: 1, Protocols: new(http.Protocols)}
	h2.Protocols.SetHTTP2(true)
	for _, c := range []struct {
		base         *http.Transport
		cfg          stabilityhttp.TransportConfig
		limit, queue int
	}{
		{four, stabilityhttp.TransportConfig{}, 4, 100},
		{four, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: 3}}, 3, 30},
		{four, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Queue: 7}}, 4, 7},
		{&http.Transport{MaxConnsPerHost: 400}, stabilityhttp.TransportConfig{}, 400, 400},
		{h2, stabilityhttp.TransportConfig{}, 100, 1000},
		{new(http.Transport), stabilityhttp.TransportConfig{}, 100, 1000},
	} {
		limit, queue := limit(c.base, c.cfg)
		require.Equal(t, []int{c.limit, c.queue}, []int{limit, queue}, "%+v", c.cfg.Bulkhead)
	}
}

// A client of thousands of hosts kept an idle connection to each, and three goroutines
// with it.
func TestIdleConnectionsOverHosts(t *testing.T) {
	standard := http.DefaultTransport
	defer func() { http.DefaultTransport = standard }()
	synctest.Test(t, func(t *testing.T) {
		var conns conns
		m := serveInMemory(t, &http.Server{ConnState: conns.state, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}) //nolint:gosec // Its clients are this test's.
		http.DefaultTransport = &http.Transport{DialContext: m.dial}
		rt := stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{})
		defer rt.CloseIdleConnections()
		for i := range 600 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, fmt.Sprintf("http://host%d.test/", i), nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		synctest.Wait()
		require.EqualValues(t, 512, conns.open.Load())
	})
}

// An open breaker behind a full bulkhead made callers wait in the queue, to be told that
// the bulkhead is full; and what it refused spent the tokens of the rate limit.
func TestOpenBreakerIsAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := gatesOnly
		cfg.RateLimit = ratelimit.Config{Rate: 1, Burst: 10}
		cfg.Bulkhead = bulkhead.Config{Limit: 1, Queue: 10}
		hold := make(chan struct{})
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			<-hold
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}), cfg)
		call := func() error {
			_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It is http.NoBody.
			return err
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = call() })
		synctest.Wait()
		gates := rt.Gates("upstream.test:80")
		gates.Breaker.ForceOpen()
		began, tokens := time.Now(), gates.RateLimit.Stats().Tokens
		for range 20 {
			require.ErrorIs(t, call(), breaker.ErrOpen)
		}
		require.Zero(t, time.Since(began))
		require.InDelta(t, tokens, gates.RateLimit.Stats().Tokens, 0)
		close(hold)
		wg.Wait()
	})
}

// Ten permits, and ten first attempts that were answered with 503: the unread response of
// each kept the permit, or the connection, that the second attempt of its race waited for,
// and nothing moved for ten seconds.
//
// Contract: 53
func TestHedgeWaitsForNothingOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		requests, conns int
		cfg             stabilityhttp.TransportConfig
	}{
		"permits":    {10, 0, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: 10, Queue: 10}}},
		"connection": {1, 1, stabilityhttp.TransportConfig{Off: stabilityhttp.PartBulkhead}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				base := memoryUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(20 * time.Millisecond)
					if sent.Add(1) <= int64(c.requests) {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
					_, _ = io.WriteString(w, "answer")
				})
				base.MaxConnsPerHost = c.conns
				c.cfg.Hedge = &hedge.Config{Delay: 10 * time.Millisecond}
				c.cfg.Retry.Budget = retry.Unlimited()
				rt := stabilityhttp.NewTransport(base, c.cfg)
				began := time.Now()
				var wg sync.WaitGroup
				for range c.requests {
					wg.Go(func() {
						resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
						if err != nil {
							t.Error(err)
							return
						}
						b, err := io.ReadAll(resp.Body)
						if err != nil || string(b) != "answer" {
							t.Error(string(b), err)
						}
						resp.Body.Close()
						if resp.StatusCode != http.StatusOK {
							t.Error(resp.Status)
						}
					})
				}
				wg.Wait()
				require.Less(t, time.Since(began), time.Second)
				time.Sleep(time.Second) // in which the losers' handlers return
				require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
			})
		})
	}
}

// Requests that stood in a queue of our own were hedged, though they had not been sent.
//
// Contract: 53
func TestNoHedgeForAQueue(t *testing.T) {
	for name, c := range map[string]struct {
		conns int
		cfg   stabilityhttp.TransportConfig
	}{
		"bulkhead":   {0, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: 1, Queue: 100}}},
		"rate limit": {0, stabilityhttp.TransportConfig{RateLimit: ratelimit.Config{Rate: 20, Burst: 1, MaxWait: 10 * time.Second}}},
		"pool":       {1, stabilityhttp.TransportConfig{Off: stabilityhttp.PartBulkhead}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := memoryUpstream(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
				base.MaxConnsPerHost = c.conns
				c.cfg.Hedge = &hedge.Config{Delay: 30 * time.Millisecond}
				rt := stabilityhttp.NewTransport(base, c.cfg)
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
					})
				}
				wg.Wait()
				require.Zero(t, rt.Stats().Hedge.Hedges)
				require.EqualValues(t, 20, rt.Stats().Hedge.Succeeded)
			})
		})
	}
}

// A base that refreshes its token through the Transport that it is the base of found the
// only probe's slot taken by the request that it served, and failed it: the breaker never
// closed again.
//
// Contract: 49
func TestRequestWithinAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rt *stabilityhttp.Transport
		code, refreshes := http.StatusInternalServerError, 0
		var inner context.Context
		rt = stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/" && code == http.StatusOK {
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL+"token", nil).WithContext(req.Context()))
				if err != nil {
					return nil, err
				}
				resp.Body.Close()
			} else {
				refreshes++
			}
			inner = req.Context()
			return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("answer"))}, nil
		}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Breaker: breaker.Config{Consecutive: 1}})
		call := func() *http.Response {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			return resp
		}
		require.NoError(t, call().Body.Close())
		b := rt.Gates("upstream.test:80").Breaker
		require.Equal(t, breaker.Open, b.State())
		code = http.StatusOK
		time.Sleep(5 * time.Second)
		resp := call()
		require.Equal(t, 2, refreshes)
		require.Equal(t, breaker.Closed, b.State())
		require.NotNil(t, inner.Value(b))
		require.NoError(t, resp.Body.Close())
		require.Nil(t, inner.Value(b), "the context of a call that has ended carries nothing of it")
	})
}

// A 101 that nobody had asked for was above every limit: a Read of its body blocked past
// Timeout, StallTimeout and the request's context, the breaker counted a success, and a
// hundred of them shut a host out for good.
//
// Contract: 14, 37
func TestUpgradeThatNobodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns []*connection
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			conns = append(conns, new(connection))
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conns[len(conns)-1]}, nil
		}), gatesOnly)
		half := newUpgrade(t, "echo")
		half.Header.Set("Connection", "keep-alive")
		other := newUpgrade(t, "echo")
		other.Header.Del("Upgrade")
		for i, req := range []*http.Request{newRequest(t, http.MethodGet, bubbleURL, nil), half, other} {
			_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
			require.ErrorContains(t, err, "asked for no upgrade")
			require.True(t, conns[i].closed)
		}
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 3})
	})
}

// The answer to a request for an upgrade has to come in time. The connection may be quiet
// from its start, as some protocols are: a limit on its first byte cut a WebSocket on which
// the server had nothing to say yet. What a server that says nothing can hold is bounded by
// the permits for upgrades.
//
// Contract: 35, 37
func TestUpgradedConnectionMayBeQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := make(chan net.Conn, 1)
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/hangs" {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			client, conn := net.Pipe()
			server <- conn
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: client}, nil
		}), stabilityhttp.TransportConfig{
			Off: stabilityhttp.PartRetry, Timeout: time.Minute, StallTimeout: 10 * time.Second, Upgrades: bulkhead.Config{Limit: 1},
		})
		hanging := newUpgrade(t, "echo")
		hanging.URL.Path = "/hangs"
		began := time.Now()
		_, err := rt.RoundTrip(hanging) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, 10*time.Second, time.Since(began))

		resp, err := rt.RoundTrip(newUpgrade(t, "echo"))
		require.NoError(t, err)
		conn, other := resp.Body.(io.ReadWriteCloser), <-server
		time.AfterFunc(time.Hour, func() { _, _ = io.WriteString(other, "a") })
		time.AfterFunc(3*time.Hour, func() { _, _ = io.WriteString(other, "b") })
		for _, want := range []string{"a", "b"} {
			b := make([]byte, 1)
			_, err = conn.Read(b)
			require.NoError(t, err)
			require.Equal(t, want, string(b))
		}
		_, err = rt.RoundTrip(newUpgrade(t, "echo")) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, bulkhead.ErrFull)
		gates := rt.Gates("upstream.test:80")
		require.Equal(t, 1, gates.Upgrades.Stats().InUse)
		require.NoError(t, conn.Close())
		require.Zero(t, gates.Upgrades.Stats().InUse)
		require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1}, gates.Breaker.Stats().Calls)
	})
}

// Upgraded connections held the permits of the bulkhead for as long as they liked.
//
// Contract: 14
func TestUpgradesHaveABoundOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := gatesOnly
		cfg.Bulkhead = bulkhead.Config{Limit: 1}
		cfg.Upgrades = bulkhead.Config{Limit: 3}
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Upgrade") == "" {
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			}
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: new(connection)}, nil
		}), cfg)
		for range 3 {
			resp, err := rt.RoundTrip(newUpgrade(t, "echo"))
			require.NoError(t, err)
			defer resp.Body.Close()
		}
		_, err := rt.RoundTrip(newUpgrade(t, "echo")) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, bulkhead.ErrFull)
		_, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It is http.NoBody.
		require.NoError(t, err)
	})
}

// A proxy that answered a CONNECT with a reason phrase that begins as an error of net/http
// does, or a server of HTTP/2 that announces that it takes hardly any header, made a
// breaker blind: every failure counted as the caller's own mistake.
//
// Contract: 47
func TestTextOfAnErrorBlindsNoBreaker(t *testing.T) {
	for _, text := range []string{
		"net/http: invalid gateway", "http: Request.ContentLength=0", "idna: down", "http2: invalid day", "http: invalid Host header",
		"http2: request header list larger than peer's advertised limit", "invalid request :path",
	} {
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New(text) }), gatesOnly)
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
		require.EqualError(t, err, text)
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
	}
}

// A proxy that refused a CONNECT was asked three times.
func TestProxyIsAskedOnce(t *testing.T) {
	for name, refuse := range map[string]func(*http.Transport){
		"by its status": func(*http.Transport) {},
		"by a function": func(base *http.Transport) {
			base.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
				if resp.StatusCode != http.StatusOK {
					return errors.New("not that way")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				base := memoryUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					asked++
					if r.Method != http.MethodConnect {
						t.Error(r.Method)
					}
					w.WriteHeader(http.StatusForbidden)
				})
				base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
				refuse(base)
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
				_, err := rt.RoundTrip(newRequest(t, http.MethodGet, "https://upstream.test/", nil)) //nolint:bodyclose // There is none.
				require.Error(t, err)
				require.Equal(t, 1, asked)
			})
		})
	}
}

// The errors of a Transport that say that time was up were no net.Error to those who
// assert one, as net/http's own are.
//
// Contract: 19
func TestErrorsAreNetErrors(t *testing.T) {
	hung := roundTripper(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	own := roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	})
	for name, c := range map[string]struct {
		base   roundTripper
		cfg    stabilityhttp.TransportConfig
		method string
	}{
		"the last attempt":    {hung, stabilityhttp.TransportConfig{}, http.MethodGet},
		"a POST":              {hung, stabilityhttp.TransportConfig{}, http.MethodPost},
		"without PartRetry":   {hung, gatesOnly, http.MethodGet},
		"the base's own":      {own, stabilityhttp.TransportConfig{}, http.MethodGet},
		"the base's, no more": {own, gatesOnly, http.MethodGet},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(c.base, c.cfg)
				_, err := rt.RoundTrip(newRequest(t, c.method, bubbleURL, nil)) //nolint:bodyclose // There is none.
				timedOut, ok := err.(net.Error)                                 //nolint:errorlint // That is what this is about.
				require.True(t, ok, "%T", err)
				require.True(t, timedOut.Timeout())
				require.True(t, timedOut.Temporary()) //nolint:staticcheck // Deprecated, and part of net.Error.
			})
		})
	}
}

// Why the caller canceled was lost, depending on where the request was just then.
//
// Contract: 6
func TestCauseOfCancellation(t *testing.T) {
	shutdown := errors.New("shutting down")
	hung := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	for name, c := range map[string]struct {
		base roundTripper
		cfg  stabilityhttp.TransportConfig
		busy int // requests before
	}{
		"sent":                {hung, gatesOnly, 0},
		"sent, with retries":  {hung, stabilityhttp.TransportConfig{}, 0},
		"hedged":              {hung, hedged, 0},
		"waiting for permits": {hung, stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: 1, Queue: 10}}, 1},
		"waiting for a token": {hung, stabilityhttp.TransportConfig{RateLimit: ratelimit.Config{Rate: 0.1, Burst: 1, MaxWait: 20 * time.Second}}, 1},
		"in a pause": {func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"10"}}, Body: http.NoBody}, nil
		}, stabilityhttp.TransportConfig{}, 0},
		"reading": {func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func([]byte) (int, error) {
				<-req.Context().Done()
				return 0, req.Context().Err()
			}))}, nil
		}, stabilityhttp.TransportConfig{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(c.base, c.cfg)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(shutdown) })
				call := func() error {
					resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx))
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					return err
				}
				var wg sync.WaitGroup
				for range c.busy {
					wg.Go(func() { _ = call() })
				}
				synctest.Wait()
				err := call()
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, shutdown)
				wg.Wait()
			})
		})
	}
}

// Each redirect had the whole Timeout anew, so that a server had a request for ten times
// as long by sending it from one slow answer to the next; and the host that it was sent to
// got its breaker opened for the little time that was left, when there was a limit.
//
// Contract: 35, 36
func TestRedirectsShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hops int
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			hops++
			select {
			case <-time.After(20 * time.Second):
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			header := http.Header{"Location": {fmt.Sprintf("http://host%d.test/", hops)}}
			return &http.Response{StatusCode: http.StatusFound, Header: header, Body: http.NoBody}, nil
		}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Timeout: 50 * time.Second})
		began := time.Now()
		_, err := get(t, &http.Client{Transport: rt}, bubbleURL) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorContains(t, err, "50s")
		require.Equal(t, 50*time.Second, time.Since(began))
		require.Equal(t, 3, hops)
		require.Equal(t, stability.Calls{Ignored: 1}, rt.Gates("host2.test:80").Breaker.Stats().Calls, "it had 10s")

		// One that is followed when no time is left is not sent, and one that is no longer
		// followed is sent.
		var followed *http.Request
		client := &http.Client{Transport: rt, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			followed = req
			time.Sleep(time.Minute)
			return nil
		}}
		_, err = get(t, client, bubbleURL) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.Equal(t, 4, hops)
		followed.Response = nil
		resp, err := rt.RoundTrip(followed)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	})
}

// A host that a request was redirected to was told the first host's deadline and attempt.
//
// Contract: 39
func TestRedirectsKeepFieldsFromOthers(t *testing.T) {
	type told struct{ host, deadline, attempt string }
	var got []told
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		got = append(got, told{req.URL.Host, req.Header.Get("X-Left"), req.Header.Get(stabilityhttp.AttemptHeader)})
		next := map[string]string{"a.test": "https://A.test:443/", "A.test:443": "http://b.test/", "b.test": "http://b.test/next"}[req.URL.Host]
		if req.URL.Path == "/next" || next == "" {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {next}}, Body: http.NoBody}, nil
	}), stabilityhttp.TransportConfig{DeadlineHeader: "X-Left"})
	req := newRequest(t, http.MethodGet, "http://a.test/", nil)
	req.Header.Set("X-Left", "60000") // which a client takes along
	req.Header.Set("X-Other", "kept")
	resp, err := do(&http.Client{Transport: rt}, req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Len(t, got, 4)
	for i, host := range []string{"a.test", "A.test:443", "b.test", "b.test"} {
		require.Equal(t, host, got[i].host)
		if ours := i < 2; ours {
			require.Regexp(t, "^(30000|29[0-9]{3})$", got[i].deadline)
			require.Equal(t, "1", got[i].attempt)
		} else {
			require.Equal(t, told{host: host}, got[i])
		}
	}
}

// A base that derives a context for each Read of a body kept 190 bytes of each until the
// body ended, which an event stream's does not.
//
// Contract: 21, 34
func TestContextOfEachReadIsForgotten(t *testing.T) {
	var derived []weak.Pointer[readEnded]
	stream := &endless{}
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		stream.read = func() {
			_, cancel := context.WithCancelCause(req.Context())
			cause := &readEnded{n: len(derived)}
			derived = append(derived, weak.Make(cause))
			cancel(cause) // which the context keeps, where it is kept itself
		}
		return &http.Response{StatusCode: http.StatusOK, Body: stream}, nil
	}), stabilityhttp.TransportConfig{})
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
	require.NoError(t, err)
	defer resp.Body.Close()
	buf := make([]byte, 1)
	for range 1000 {
		_, err := resp.Body.Read(buf)
		require.NoError(t, err)
	}
	runtime.GC()
	kept := 0
	for _, p := range derived {
		if p.Value() != nil {
			kept++
		}
	}
	require.Len(t, derived, 1000)
	require.Less(t, kept, 10, "the first, in whose place the base's own is mostly, and what is on its way")
}

type readEnded struct{ n int }

func (e *readEnded) Error() string { return fmt.Sprint("read ", e.n) }

// endless is a body without an end.
type endless struct{ read func() }

func (e *endless) Read(p []byte) (int, error) {
	e.read()
	return len(p), nil
}

func (*endless) Close() error { return nil }

// To look at the gates of a host that nobody calls made them, and they stayed.
//
// Contract: 42, 51
func TestGatesMakesNone(t *testing.T) {
	base := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{RateLimit: ratelimit.Config{Rate: 1000, Burst: 1000}})
	for i := range 100 {
		require.Equal(t, stabilityhttp.Gates{}, rt.Gates(fmt.Sprint("host", i, ":80")))
	}
	require.Zero(t, rt.Stats().Breaker.Closed)
	require.Zero(t, rt.Gates("x").Bulkhead.Stats(), "what is nil can be looked at")
	_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It is http.NoBody.
	require.NoError(t, err)
	gates := rt.Gates("upstream.test:80")
	require.NotNil(t, gates.Breaker)
	require.NotNil(t, gates.Bulkhead)
	require.NotNil(t, gates.RateLimit)
	require.Nil(t, gates.Upgrades)
	require.Equal(t, 1, rt.Stats().Breaker.Closed)
}

// A 503 of a Handler that came without the fields which say that it is overload, because a
// proxy between had lost them, opened breakers. Its body still says so.
//
// Contract: 47
func TestOverloadThatOnlyTheBodyTells(t *testing.T) {
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	_, err := full.Enter(t.Context())
	require.NoError(t, err)
	w := httptest.NewRecorder()
	stabilityhttp.NewHandler(nil, stabilityhttp.HandlerConfig{Bulkhead: full}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	ours := w.Body.String()
	long := `{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","detail":"` + strings.Repeat("x", 2000) + `"}`
	for name, c := range map[string]struct {
		code      int
		mediaType string
		body      string
		length    int // of it, as it is said to be, less the body's
		want      stability.Outcome
	}{
		"ours":            {503, "application/problem+json", ours, 0, stability.Ignored},
		"with parameters": {503, "Application/Problem+JSON; charset=utf-8", ours, 0, stability.Ignored},
		"another problem": {503, "application/problem+json", `{"type":"about:blank"}`, 0, stability.Failure},
		"no problem":      {503, "text/plain", ours, 0, stability.Failure},
		"no JSON":         {503, "application/problem+json", "{{{", 0, stability.Failure},
		"long":            {503, "application/problem+json", long, 0, stability.Failure},
		"cut short":       {503, "application/problem+json", ours, 1, stability.Failure},
		"endless":         {503, "application/problem+json", ours, -1 - len(ours), stability.Failure},
		"another status":  {500, "application/problem+json", ours, 0, stability.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
				var body io.Reader = strings.NewReader(c.body)
				if c.length > 0 {
					body = io.MultiReader(body, brokenReader{})
				}
				return &http.Response{
					StatusCode: c.code, Header: http.Header{"Content-Type": {c.mediaType}}, ContentLength: int64(len(c.body) + c.length), Body: io.NopCloser(body),
				}, nil
			}), gatesOnly)
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.Equal(t, c.want == stability.Ignored, stability.Overloaded(stabilityhttp.ResponseError(resp)))
			got, err := io.ReadAll(resp.Body)
			require.Equal(t, c.body, string(got), "it is read from its start")
			require.Equal(t, c.length > 0, err != nil, "and to its end")
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.want == stability.Ignored, rt.Gates("upstream.test:80").Breaker.Stats().Ignored == 1)
			require.Equal(t, c.want == stability.Failure, rt.Gates("upstream.test:80").Breaker.Stats().Failed == 1)
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A base that gets a token before it sends, with a request of its own through the same
// Transport, waited for the permit that the request held: for as long as there was time.
//
// Contract: 49
func TestRequestWithinAFullBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 4
		var rt *stabilityhttp.Transport
		var tokens atomic.Int64
		var full sync.WaitGroup
		full.Add(limit)
		rt = stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/token" {
				tokens.Add(1)
			} else {
				full.Done()
				full.Wait() // all permits are taken
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL+"token", nil).WithContext(req.Context()))
				if err != nil {
					return nil, err
				}
				resp.Body.Close()
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}), stabilityhttp.TransportConfig{Bulkhead: bulkhead.Config{Limit: limit, Queue: 100}})
		began := time.Now()
		var all sync.WaitGroup
		for range limit {
			all.Go(func() {
				_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It is http.NoBody.
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Zero(t, time.Since(began))
		require.EqualValues(t, limit, tokens.Load())
		require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
	})
}

// A ClientTrace sees what becomes of both calls of a hedge, side by side.
//
// Contract: 37
func TestTraceOfAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		base := memoryUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				<-r.Context().Done()
			}
		})
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Hedge: &hedge.Config{Delay: time.Second}})
		var connections, sent, answered atomic.Int64
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn:              func(httptrace.GotConnInfo) { connections.Add(1) },
			WroteRequest:         func(httptrace.WroteRequestInfo) { sent.Add(1) },
			GotFirstResponseByte: func() { answered.Add(1) },
		})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, []int64{2, 2, 1}, []int64{connections.Load(), sent.Load(), answered.Load()})
	})
}
