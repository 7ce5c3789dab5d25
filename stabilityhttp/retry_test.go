package stabilityhttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
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
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// conns counts the connections of a server.
type conns struct{ opened, open atomic.Int32 }

func (c *conns) state(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.opened.Add(1)
		c.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	}
}

// In virtual time: a machine that is held up for longer than a body is drained for costs a
// connection.
//
// Contract: 27, 33
func TestRetriesLeaveOneConnection(t *testing.T) {
	for _, size := range []int{0, 100, 5000, 100_000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const url, other = "http://a.test/", "http://b.test/"
				var requests atomic.Int32
				var conns, otherConns conns
				hosts := map[string]*memory{
					"a.test:80": serveInMemory(t, &http.Server{ConnState: conns.state, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						requests.Add(1)
						w.WriteHeader(http.StatusServiceUnavailable)
						_, _ = w.Write(make([]byte, size))
					})}),
					"b.test:80": serveInMemory(t, &http.Server{ConnState: otherConns.state, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}),
				}
				base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					return hosts[address].dial(ctx, network, address)
				}}
				t.Cleanup(base.CloseIdleConnections)
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{
					Off:   stabilityhttp.PartBreaker,
					Retry: retry.Config{Base: time.Millisecond, Budget: retry.Unlimited()},
				})
				c := &http.Client{Transport: rt}
				resp, err := get(t, c, other)
				require.NoError(t, err)
				resp.Body.Close()
				for range 30 {
					resp, err := get(t, c, url)
					require.NoError(t, err)
					require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Len(t, body, size, "the last response is whole")
					require.NoError(t, resp.Body.Close())
				}
				require.EqualValues(t, 90, requests.Load())
				synctest.Wait()
				require.LessOrEqual(t, conns.open.Load(), int32(1))
				if size < 10_000 {
					require.EqualValues(t, 1, conns.opened.Load())
				}
				resp, err = get(t, c, other)
				require.NoError(t, err)
				resp.Body.Close()
				require.EqualValues(t, 1, otherConns.opened.Load(), "another host's connection is left alone")
				require.Equal(t, stability.Calls{Failed: 90}, rt.Gates(key(t, url)).Bulkhead.Stats().Calls)
				require.EqualValues(t, 30, rt.Stats().Retry.Exhausted)
			})
		})
	}
}

// The standard client bounds what it adds to an outage.
//
// Contract: 30
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			calls++
			return nil, errors.New("reset")
		}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartBreaker})
		for range 1000 {
			_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
			require.Error(t, err)
		}
		require.LessOrEqual(t, calls, 1250)
		require.Greater(t, calls, 1100)
	})
}

// A host that is down uses up its own budget, for retries and hedges, and no other's,
// unless one budget was given for all.
//
// Contract: 30
func TestBudgetOfEachHost(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  func() stabilityhttp.TransportConfig // in the bubble, with its clock
		want int                                  // the status of a host that fails every other time
	}{
		"of each host":   {func() stabilityhttp.TransportConfig { return stabilityhttp.TransportConfig{} }, http.StatusOK},
		"and its hedges": {func() stabilityhttp.TransportConfig { return stabilityhttp.TransportConfig{Hedge: &hedge.Config{}} }, http.StatusOK},
		"one for all": {func() stabilityhttp.TransportConfig {
			return stabilityhttp.TransportConfig{Retry: retry.Config{Budget: retry.NewBudget(retry.BudgetConfig{})}}
		}, http.StatusServiceUnavailable},
		"one of Hedge's": {func() stabilityhttp.TransportConfig {
			return stabilityhttp.TransportConfig{Hedge: &hedge.Config{Budget: retry.NewBudget(retry.BudgetConfig{})}}
		}, http.StatusOK},
		"keyed otherwise": {func() stabilityhttp.TransportConfig {
			return stabilityhttp.TransportConfig{Retry: retry.Config{Budget: retry.NewBudget(retry.BudgetConfig{Key: ofTenant})}}
		}, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				cfg := c.cfg()
				cfg.Off |= stabilityhttp.PartBreaker
				cfg.Retry.Jitter = func(time.Duration) time.Duration { return 0 }
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					status := http.StatusServiceUnavailable
					if req.URL.Host != "down.test" && asked.Add(1)%2 == 0 {
						status = http.StatusOK
					}
					return &http.Response{StatusCode: status, Body: http.NoBody}, nil
				}), cfg)
				get := func(url string) int {
					resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, nil))
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					return resp.StatusCode
				}
				for range 100 {
					require.Equal(t, http.StatusServiceUnavailable, get("http://down.test/"))
				}
				require.Equal(t, c.want, get(bubbleURL))
			})
		})
	}
}

type tenantKey struct{}

// ofTenant is a key of the caller's, who says nothing here.
func ofTenant(ctx context.Context) string {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return tenant
}

// The same over sockets, by one caller and by a hundred at the same time.
//
// Contract: 30
func TestBudgetOverHTTP(t *testing.T) {
	for _, callers := range []int{1, 100} {
		t.Run(strconv.Itoa(callers), func(t *testing.T) {
			c, rt := newClient(t, stabilityhttp.TransportConfig{Off: stabilityhttp.PartBreaker, Retry: retry.Config{Base: time.Millisecond}})
			var attempts atomic.Int64
			url := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				attempts.Add(1)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			const calls = 1000
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range calls / callers {
						resp, err := get(t, c, url)
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
					}
				})
			}
			wg.Wait()
			require.LessOrEqual(t, attempts.Load(), int64(calls*1.25), "a fifth, and the floor of one a second")
			require.Equal(t, attempts.Load(), rt.Stats().Retry.Attempts)
			require.Positive(t, rt.Stats().Retry.OverBudget)
		})
	}
}

// answers is a base that gives one answer after another and repeats the last.
type answers struct {
	t      *testing.T
	all    []any // an int is a status, with the header that follows; an error an error
	calls  int
	bodies []string
	seen   []http.Header
	open   int // response bodies not closed
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := a.all[min(a.calls, len(a.all)-1)]
	a.calls++
	a.seen = append(a.seen, req.Header)
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		require.NoError(a.t, err)
		require.NoError(a.t, req.Body.Close())
		if req.ContentLength > 0 {
			require.EqualValues(a.t, req.ContentLength, len(b)) //nolint:testifylint // Len would print all of it.
		}
		a.bodies = append(a.bodies, string(b))
	}
	resp := &http.Response{ProtoMajor: 1, Header: http.Header{}}
	switch answer := answer.(type) {
	case error:
		return nil, answer
	case int:
		resp.StatusCode = answer
	case status:
		resp.StatusCode = answer.code
		resp.Header.Set(answer.name, answer.value)
	}
	resp.Status = strconv.Itoa(resp.StatusCode)
	a.open++
	resp.Body = &answerBody{strings.NewReader("answer " + strconv.Itoa(a.calls)), a, false}
	return resp, nil
}

type status struct {
	code        int
	name, value string
}

type answerBody struct {
	io.Reader
	a      *answers
	closed bool
}

func (b *answerBody) Close() error {
	if !b.closed {
		b.closed = true
		b.a.open--
	}
	return nil
}

var (
	errReset = &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	errDial  = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
)

// Contract: 36, 39
func TestWhatIsRetried(t *testing.T) {
	const all = "GET HEAD OPTIONS TRACE PUT DELETE POST PATCH POST+key"
	const idempotent = "GET HEAD OPTIONS TRACE PUT DELETE POST+key"
	for _, c := range []struct {
		answer  any
		methods string // those that are retried
	}{
		{200, ""}, {404, ""}, {500, ""}, {501, ""}, {505, ""},
		{408, idempotent}, {502, idempotent}, {503, idempotent}, {504, idempotent},
		{429, all},
		{errReset, idempotent}, {io.EOF, idempotent},
		{errDial, all},
		{&net.OpError{Op: "proxyconnect", Err: errReset}, all},
		{&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, ""},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, ""},
		{tls.RecordHeaderError{}, ""},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(40)}, ""},
		{&stability.Rejection{Policy: "other"}, ""},
	} {
		for method := range strings.FieldsSeq(all) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{t: t, all: []any{c.answer, 200}}
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
				method, withKey := strings.CutSuffix(method, "+key")
				req := newRequest(t, method, bubbleURL, nil)
				if withKey {
					req.Header.Set("Idempotency-Key", "1")
				}
				resp, err := rt.RoundTrip(req)
				want := 1
				if strings.Contains(" "+c.methods+" ", " "+method+" ") || withKey && strings.Contains(c.methods, "+key") {
					want = 2
				}
				require.Equal(t, want, base.calls, "%v %s", c.answer, method)
				if err == nil {
					b, _ := io.ReadAll(resp.Body)
					require.Equal(t, "answer "+strconv.Itoa(want), string(b))
					require.NoError(t, resp.Body.Close())
				}
				require.Equal(t, want == 2 || err == nil, resp != nil)
				require.Zero(t, base.open)
			})
		}
	}
}

// Contract: 36
func TestReplay(t *testing.T) {
	payload := strings.Repeat("byte for byte ", 1000)
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{503, errReset, 200}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, strings.NewReader(payload)))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, []string{payload, payload, payload}, base.bodies)
	})
	synctest.Test(t, func(t *testing.T) { // a body that can be read only once
		base := &answers{t: t, all: []any{errReset, 200}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		body := &closeCounter{Reader: strings.NewReader(payload)}
		_, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, body)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, stabilityhttp.ErrNoReplay)
		require.ErrorIs(t, err, errReset)
		require.Equal(t, 1, base.calls)
		require.Equal(t, 1, body.closed)

		base = &answers{t: t, all: []any{503, 200}}
		rt = stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, &closeCounter{Reader: strings.NewReader(payload)}))
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, base.calls)
	})
	synctest.Test(t, func(t *testing.T) { // one that cannot be had again
		base := &answers{t: t, all: []any{503, 200}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		req := newRequest(t, http.MethodPut, bubbleURL, strings.NewReader(payload))
		req.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrNoProgress }
		_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, io.ErrNoProgress)
		require.Zero(t, base.open)
	})
}

// Contract: 28, 38
func TestRetryAfterIsObeyed(t *testing.T) {
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		name        string
		header      func() (name, value string)
		atLeast     time.Duration
		atMost      time.Duration
		calls, code int
	}{
		{"seconds", func() (string, string) { return "Retry-After", "7" }, 7 * time.Second, 11 * time.Second, 2, 200},
		{"a date", func() (string, string) { return "Retry-After", at(9 * time.Second) }, 8 * time.Second, 14 * time.Second, 2, 200},
		{"a date in the past", func() (string, string) { return "Retry-After", at(-time.Hour) }, 0, time.Second, 2, 200},
		{"negative", func() (string, string) { return "Retry-After", "-7" }, 0, time.Second, 2, 200},
		{"garbage", func() (string, string) { return "Retry-After", "soon" }, 0, time.Second, 2, 200},
		{"past the deadline", func() (string, string) { return "Retry-After", "30" }, 0, 0, 1, 503},
		{"huge", func() (string, string) { return "Retry-After", strings.Repeat("9", 100) }, 0, 0, 1, 503},
		{"RateLimit", func() (string, string) { return "RateLimit", `"default";r=0;t=5` }, 5 * time.Second, 8 * time.Second, 2, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				name, value := c.header()
				base := &answers{t: t, all: []any{status{503, name, value}, 200}}
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
				start := time.Now()
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
				require.NoError(t, err)
				require.GreaterOrEqual(t, time.Since(start), c.atLeast)
				require.LessOrEqual(t, time.Since(start), c.atMost)
				require.Equal(t, c.code, resp.StatusCode)
				require.Equal(t, c.calls, base.calls)
				b, _ := io.ReadAll(resp.Body)
				require.Equal(t, "answer "+strconv.Itoa(c.calls), string(b))
				require.NoError(t, resp.Body.Close())
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // without any deadline nobody sleeps for a day
		base := &answers{t: t, all: []any{status{503, "Retry-After", "86400"}, 200}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Off: stabilityhttp.PartTimeout})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	})
}

// A tier in the middle waited out the ten seconds that the next one told it to. To its own
// client it seemed to hang: the one probe of that client's breaker was out for as long, and
// everybody else was refused, again and again after the last tier had come back.
//
// Contract: 46
func TestATierPassesALongPushbackOn(t *testing.T) {
	for name, c := range map[string]struct {
		serving     bool
		after       string
		maxPushback time.Duration
		code, calls int
	}{
		"long, of a server":               {true, "10", 0, 503, 1},
		"short, of a server":              {true, "1", 0, 200, 2},
		"long, of nobody's server":        {false, "10", 0, 200, 2},
		"long, of a server that wants to": {true, "10", time.Minute, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{t: t, all: []any{status{503, "Retry-After", c.after}, 200}}
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Retry: retry.Config{MaxPushback: c.maxPushback}})
				req := newRequest(t, http.MethodGet, bubbleURL, nil)
				if c.serving {
					req = req.WithContext(context.WithValue(t.Context(), http.ServerContextKey, &http.Server{}))
				}
				start := time.Now()
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, c.code, resp.StatusCode)
				require.Equal(t, c.calls, base.calls)
				if c.calls == 1 {
					require.Zero(t, time.Since(start))
					require.Equal(t, c.after, resp.Header.Get("Retry-After"))
				}

				// So it is with a quota that is known to be used up.
				base.calls, base.all = 0, []any{status{429, "RateLimit", `"default";r=0;t=` + c.after}, 200, 200}
				resp, err = rt.RoundTrip(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				start = time.Now()
				resp, err = rt.RoundTrip(req)
				if c.calls == 1 {
					require.ErrorIs(t, err, stabilityhttp.ErrQuota)
					require.Zero(t, time.Since(start))
					return
				}
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
			})
		})
	}
}

// Between attempts nothing is taken: no permit, no probe of a breaker, which the next
// attempt needs itself, and no connection.
func TestNothingIsHeldInPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{status{503, "Retry-After", "10"}, 200}}
		var rt *stabilityhttp.Transport
		retries := 0
		rt = stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{
			Bulkhead: bulkhead.Config{Limit: 1},
			Retry: retry.Config{OnRetry: func(_ context.Context, err error, pause time.Duration) {
				retries++
				require.EqualError(t, err, "stabilityhttp: status 503")
				require.GreaterOrEqual(t, pause, 10*time.Second)
				require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
				require.Zero(t, base.open)
			}},
		})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, retries)
		require.Equal(t, stability.Calls{Succeeded: 1, Ignored: 1}, rt.Gates("upstream.test:80").Breaker.Stats().Calls)
	})
}

// Contract: 29
func TestRefusalsAreNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{503}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Breaker: breaker.Config{Consecutive: 2}})
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, breaker.ErrOpen, "it opened after the second attempt")
		require.Equal(t, 2, base.calls)
		require.Zero(t, base.open)
		require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
	})
}

// Contract: 19, 28
func TestRetryErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		c := &http.Client{Transport: stabilityhttp.NewTransport(hung, stabilityhttp.TransportConfig{})}
		start := time.Now()
		_, err := get(t, c, bubbleURL) //nolint:bodyclose // There is none.
		require.LessOrEqual(t, time.Since(start), 30*time.Second)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var ue *url.Error
		require.ErrorAs(t, err, &ue)
		require.True(t, ue.Timeout())

		c.Transport = stabilityhttp.NewTransport(hung, stabilityhttp.TransportConfig{Timeout: time.Minute, StallTimeout: time.Second})
		_, err = get(t, c, bubbleURL) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.ErrorAs(t, err, &ue)
		require.True(t, ue.Timeout())

		c.Transport = stabilityhttp.NewTransport(&answers{t: t, all: []any{errReset}}, stabilityhttp.TransportConfig{})
		_, err = get(t, c, bubbleURL) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, retry.ErrExhausted)
		require.ErrorIs(t, err, errReset)
		var gaveUp *retry.Error
		require.ErrorAs(t, err, &gaveUp)
		require.Equal(t, 3, gaveUp.Attempts)
		require.ErrorAs(t, err, &ue)
		require.False(t, ue.Timeout())
	})
}

// The Timeout of an http.Client around a Transport is the caller's.
//
// Contract: 19, 29
func TestClientTimeout(t *testing.T) {
	bubble(t, stabilityhttp.TransportConfig{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
			c.Timeout = time.Second
			start := time.Now()
			_, err := get(t, c, bubbleURL) //nolint:bodyclose // There is none.
			require.Equal(t, time.Second, time.Since(start))
			var ue *url.Error
			require.ErrorAs(t, err, &ue)
			require.True(t, ue.Timeout())
			require.NotErrorIs(t, err, timeout.ErrExceeded)
			synctest.Wait()
			require.EqualValues(t, 1, rt.Stats().Attempts.Started())
			require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
		})
}

// The channel of a request that was there before contexts counts as well.
//
// Contract: 29
func TestRequestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{errReset}}
		req := newRequest(t, http.MethodGet, bubbleURL, nil)
		canceled := make(chan struct{})
		close(canceled)
		req.Cancel = canceled                                                                      //nolint:staticcheck // Deprecated, and kept by net/http.
		_, err := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{}).RoundTrip(req) //nolint:bodyclose // There is none.
		require.Equal(t, errReset, err)
		require.Equal(t, 1, base.calls)
	})
}

// A caller who goes away during a pause gets his context's error at once.
//
// Contract: 29
func TestCanceledInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{status{503, "Retry-After", "10"}}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(start))
		require.Zero(t, base.open)
	})
}

// The time left and the number of the attempt travel with the request; an attempt of
// a retry further out is not retried here.
//
// Contract: 31
func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{status{503, "Retry-After", "4"}, 503, 200}}
		cfg := stabilityhttp.TransportConfig{Timeout: 10 * time.Second, Retry: retry.Config{Jitter: func(time.Duration) time.Duration { return 0 }}}
		rt := stabilityhttp.NewTransport(base, cfg)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		field := func(name string) (values []string) {
			for _, h := range base.seen {
				values = append(values, h.Get(name))
			}
			base.seen = nil
			return values
		}
		seen := base.seen
		require.Equal(t, []string{"10000", "6000", "6000"}, field(stabilityhttp.DeadlineHeader))
		base.seen = seen
		require.Equal(t, []string{"1", "2", "3"}, field(stabilityhttp.AttemptHeader))

		base.calls = 0
		ctx := retry.WithAttempt(t.Context(), 2)
		resp, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx))
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, base.calls)
		require.Equal(t, []string{"2"}, field(stabilityhttp.AttemptHeader))
		resp, err = rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, nil).WithContext(ctx))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, []string{"2"}, field(stabilityhttp.AttemptHeader), "the one further out makes this again, whatever it is")

		// What is not made again here may be made again further in.
		base.calls = 2
		resp, err = rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, []string{""}, field(stabilityhttp.AttemptHeader))

		cfg.DeadlineHeader = "x-time-left"
		resp, err = stabilityhttp.NewTransport(base, cfg).RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, []string{"10000"}, field("X-Time-Left"))

		cfg = stabilityhttp.TransportConfig{Off: stabilityhttp.PartDeadlineHeader | stabilityhttp.PartRetry}
		req := newRequest(t, http.MethodGet, bubbleURL, nil)
		resp, err = stabilityhttp.NewTransport(base, cfg).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Empty(t, base.seen[0])
	})
}

// The user's Retryable decides, and may panic.
func TestRetryable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{500, errReset, 200}}
		cfg := stabilityhttp.TransportConfig{Retryable: func(_ *http.Request, resp *http.Response, err error) bool {
			return err != nil || resp.StatusCode == http.StatusInternalServerError
		}}
		resp, err := stabilityhttp.NewTransport(base, cfg).RoundTrip(newRequest(t, http.MethodPost, bubbleURL, bytes.NewReader([]byte("x"))))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 3, base.calls)
		require.Equal(t, "1", base.seen[0].Get(stabilityhttp.AttemptHeader))

		cfg.Retryable = func(*http.Request, *http.Response, error) bool { panic("the user's function") }
		rt := stabilityhttp.NewTransport(base, cfg)
		require.PanicsWithValue(t, "the user's function", func() {
			_, _ = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // It panics.
		})
		require.Zero(t, base.open)
		require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
	})
}

// A Transport that makes nothing again does not tell the server that it does, so that
// those further in may.
//
// Contract: 31
func TestAttemptsOneLeavesRetriesToOthers(t *testing.T) {
	for name, cfg := range map[string]stabilityhttp.TransportConfig{
		"one attempt":       {Retry: retry.Config{Attempts: 1}},
		"without retries":   {Off: stabilityhttp.PartRetry},
		"one, and a hedge":  {Retry: retry.Config{Attempts: 1}, Hedge: &hedge.Config{}},
		"none, and a hedge": {Off: stabilityhttp.PartRetry, Hedge: &hedge.Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{t: t, all: []any{503}}
				toLeaf := &http.Client{Transport: stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})}
				middle := stabilityhttp.NewHandler(tier(t, toLeaf), stabilityhttp.HandlerConfig{})
				client := &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, middle.ServeHTTP), cfg)}
				resp, _ := ask(t, client, bubbleURL)
				require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
				require.Equal(t, 3, base.calls)
			})
		})
	}
}
