package stabilityhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

const (
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
	secret          = "db.internal:5432 password=hunter2" //nolint:gosec // Nobody's.
)

// shed is how a client's error says that the other side shed the call.
type shed time.Duration

func (s shed) Error() string           { return secret }
func (s shed) Overloaded() bool        { return true }
func (s shed) Pushback() time.Duration { return time.Duration(s) }

func TestErrorHandler(t *testing.T) {
	open := &stability.Rejection{Policy: "breaker", Name: secret, Reason: breaker.ErrOpen, RetryAfter: 7 * time.Second}
	for name, c := range map[string]struct {
		err         error
		status      int
		problem     string
		least, most int // Retry-After
	}{
		"a policy refused":      {open, 503, reducedCapacity, 7, 11},
		"and somebody wraps it": {fmt.Errorf("load cart: %w", open), 503, reducedCapacity, 7, 11},
		"and does not say till when": {
			&stability.Rejection{Policy: "bulkhead", Reason: bulkhead.ErrFull}, 503, reducedCapacity, 1, 2,
		},
		"a rate limit of our own":   {&stability.Rejection{Policy: "ratelimit", Reason: ratelimit.ErrLimited, RetryAfter: time.Millisecond}, 503, reducedCapacity, 1, 2},
		"the other side shed it":    {fmt.Errorf("stock: %w", shed(3*time.Second)), 503, reducedCapacity, 3, 5},
		"and time ran out for more": {fmt.Errorf("%w: %w", context.DeadlineExceeded, shed(3*time.Second)), 503, reducedCapacity, 3, 5},
		"a deadline":                {fmt.Errorf("stock: %w", context.DeadlineExceeded), 504, "about:blank", 0, 0},
		"a time limit of ours": {
			&timeout.Error{Name: secret, After: time.Second, Err: context.DeadlineExceeded}, 504, "about:blank", 0, 0,
		},
		"a socket's":              {&url.Error{Op: "Get", URL: secret, Err: timeoutError{}}, 504, "about:blank", 0, 0},
		"time over in a queue":    {&stability.Rejection{Policy: "bulkhead", Reason: errors.Join(bulkhead.ErrFull, context.DeadlineExceeded)}, 504, "about:blank", 0, 0},
		"anything":                {errors.New(secret), 502, "about:blank", 0, 0},
		"a refusal and a failure": {errors.Join(open, errors.New(secret)), 502, "about:blank", 0, 0},
		"canceled by ourselves":   {context.Canceled, 502, "about:blank", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("ETag", `"page"`)
			stabilityhttp.ErrorHandler(w, httptest.NewRequest(http.MethodGet, "/", nil), c.err)
			resp := w.Result()
			defer resp.Body.Close()
			requireProblem(t, resp, w.Body.String(), c.status, c.problem)
			require.NotContains(t, w.Body.String(), "hunter2")
			require.NotContains(t, fmt.Sprint(w.Header()), "hunter2")
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Empty(t, resp.Header.Get("ETag"))
			if c.least == 0 {
				require.Empty(t, resp.Header.Get("Retry-After"))
				return
			}
			after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			require.NoError(t, err)
			require.GreaterOrEqual(t, after, c.least)
			require.LessOrEqual(t, after, c.most)
		})
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	stabilityhttp.ErrorHandler(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), open)
	require.Equal(t, 499, w.Code, "the client has gone")
}

type timeoutError struct{}

func (timeoutError) Error() string { return secret }
func (timeoutError) Timeout() bool { return true }

func TestResponseError(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		want       int // of ErrorHandler; 0: no error
		shed       bool
	}{
		{200, "", 0, false}, {304, "", 0, false}, {404, "7", 0, false},
		{429, "", 503, true}, {429, "7", 503, true},
		{503, "7", 503, true}, {503, "", 502, false}, {503, "soon", 502, false},
		{500, "7", 502, false}, {502, "", 502, false}, {504, "", 504, false},
	} {
		err := stabilityhttp.ResponseError(&http.Response{
			StatusCode: c.status, Status: strconv.Itoa(c.status) + " " + secret, Header: http.Header{"Retry-After": {c.retryAfter}},
		})
		if c.want == 0 {
			require.NoError(t, err, c)
			continue
		}
		require.Equal(t, c.shed, stability.Overloaded(err), c)
		require.EqualError(t, err, "stabilityhttp: status "+strconv.Itoa(c.status))
		if c.retryAfter == "7" {
			require.Equal(t, 7*time.Second, stability.RetryAfter(err))
		}
		w := httptest.NewRecorder()
		stabilityhttp.ErrorHandler(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
		require.Equal(t, c.want, w.Code, c)
	}
}

// A tier in the middle answered 502 with the text of any error. So the client further out
// took the shedding of the leaf for an outage of the middle, and its breaker opened; and
// it learned the addresses of what is behind. Through both ways of passing an error on,
// overload arrives as overload, and when to come back with it.
//
// Contract: 47
func TestTiersPassOverloadOn(t *testing.T) {
	for _, how := range []string{"handler", "ReverseProxy"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toLeaf := stabilityhttp.NewTransport(memoryUpstream(t, func(http.ResponseWriter, *http.Request) {}), stabilityhttp.TransportConfig{})
				var middle http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					req := newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(r.Context())
					resp, err := toLeaf.RoundTrip(req)
					if err == nil {
						defer resp.Body.Close()
						err = stabilityhttp.ResponseError(resp)
					}
					if err != nil {
						stabilityhttp.ErrorHandler(w, r, err)
					}
				})
				if how == "ReverseProxy" {
					middle = &httputil.ReverseProxy{
						Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream.test" },
						Transport:    toLeaf,
						ErrorHandler: stabilityhttp.ErrorHandler,
					}
				}
				resp, err := toLeaf.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				toLeaf.Gates("upstream.test:80").Breaker.ForceOpen()
				url, client := listenInMemory(t, "HTTP/1.1", stabilityhttp.NewHandler(middle, stabilityhttp.HandlerConfig{}))
				resp, body := ask(t, client, url)
				requireProblem(t, resp, body, http.StatusServiceUnavailable, reducedCapacity)
				require.NotEmpty(t, resp.Header.Get("Retry-After"))
				require.NotContains(t, body, "upstream.test")
			})
		})
	}
}
