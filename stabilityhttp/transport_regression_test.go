package stabilityhttp_test

import (
	"context"
	"io"
	"net/http"
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
	"github.com/crumplezone/stability/stabilityhttp"
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
		}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Timeout: time.Hour, AttemptTimeout: 10 * time.Second, Breaker: breaker.Config{ProbeFor: 20 * time.Second}})
		gates := rt.Gates("upstream.test:80")
		for gates.Breaker.State() != breaker.Open {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
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
// body that breaks after a good beginning is a failure besides.
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
		require.Equal(t, breaker.Counts{Successes: 1, Failures: 1}, window())
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})

		code = http.StatusBadGateway
		resp, err = rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.Equal(t, breaker.Counts{Successes: 1, Failures: 2}, window())
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, broken)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, breaker.Counts{Successes: 1, Failures: 2}, window())
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 2})
	})
}
