package stabilityhttp_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

// A host that refuses, and says that nothing is left, is left alone for as long as it
// means at the least, but for no longer than a minute. One that answers is asked again:
// it may have taken the last of the quota of one endpoint, and have enough left for the
// next.
func TestQuota(t *testing.T) {
	for _, c := range []struct {
		status int
		field  string
		until  time.Duration
	}{
		{429, `"default";r=0;t=5`, 4 * time.Second},
		{503, `"default";r=0;t=5`, 4 * time.Second},
		{429, `"default";r=0;t=86400`, time.Minute},
		{429, `"default";r=0;t=1`, 0}, // which may be a millisecond
		{429, `"default";r=1;t=5`, 0},
		{429, `"default";r=0`, 0},
		{429, `garbage;;`, 0},
		{200, `"search";r=0;t=3600`, 0},
		{404, `"search";r=0;t=3600`, 0},
		{500, `"search";r=0;t=3600`, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &answers{t: t, all: []any{status{c.status, "RateLimit", c.field}, 200}}
			call := func(rt *stabilityhttp.Transport, url string, deadline time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, nil).WithContext(ctx))
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			cfg := stabilityhttp.TransportConfig{Name: "inventory", Off: stabilityhttp.PartRetry, Timeout: time.Hour}
			rt := stabilityhttp.NewTransport(base, cfg)
			began := time.Now()
			require.NoError(t, call(rt, bubbleURL, time.Hour))
			if c.until > 0 {
				time.Sleep(time.Second)
				err := call(rt, bubbleURL, c.until-time.Second)
				require.ErrorIs(t, err, stabilityhttp.ErrQuota)
				require.Equal(t, time.Second, time.Since(began), "there is no time to wait")
				var rejection *stability.Rejection
				require.ErrorAs(t, err, &rejection)
				require.Equal(t, stability.Rejection{
					Policy: "quota", Name: "inventory", Key: "upstream.test:80",
					Reason: stabilityhttp.ErrQuota, RetryAfter: c.until,
				}, *rejection)
				require.NoError(t, call(rt, "http://other.test", time.Nanosecond))
			}
			require.NoError(t, call(rt, bubbleURL, time.Hour))
			require.GreaterOrEqual(t, time.Since(began), c.until)
			require.LessOrEqual(t, time.Since(began), c.until*5/4+time.Second)

			base.calls = 0
			cfg.Off |= stabilityhttp.PartQuota
			rt = stabilityhttp.NewTransport(base, cfg)
			require.NoError(t, call(rt, bubbleURL, time.Nanosecond))
			require.NoError(t, call(rt, bubbleURL, time.Nanosecond))
		})
	}
}

// A server with a rate of 1000 a second was sent 105 requests at once each 210
// milliseconds, half of what it allows. It refused five, said that the next token came
// within a second where it came within a millisecond, and the client refused itself all
// that followed within a second: 1934 of 9975 were answered.
//
// Contract: 46
func TestQuotaThatOpensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), stabilityhttp.HandlerConfig{
			RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 1000, Burst: 100}, stability.Keys{}),
		})
		rt := stabilityhttp.NewTransport(memoryUpstream(t, server.ServeHTTP), stabilityhttp.TransportConfig{})
		var answered atomic.Int64
		var wg sync.WaitGroup
		const bursts, size = 20, 105
		for range bursts {
			for range size {
				wg.Go(func() {
					resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
					if err == nil {
						resp.Body.Close()
					}
					if err == nil && resp.StatusCode == http.StatusOK {
						answered.Add(1)
					}
				})
			}
			time.Sleep(210 * time.Millisecond)
		}
		wg.Wait()
		require.EqualValues(t, bursts*size, answered.Load())
	})
}

// Those who wait for the same quota do not come back at the same instant, and where the
// first of them is refused the others go on waiting.
//
// Contract: 52
func TestWaitersForAQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 100
		var sent []time.Duration
		began := time.Now()
		rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			sent = append(sent, time.Since(began))
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
			if len(sent) <= 2 {
				resp.StatusCode = http.StatusTooManyRequests
				resp.Header.Set("RateLimit", `"default";r=0;t=5`)
			}
			return resp, nil
		}), gatesOnly)
		call := func(ctx context.Context) error {
			_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // It is http.NoBody.
			return err
		}
		require.NoError(t, call(t.Context()))
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() {
				if err := call(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		left := errors.New("left")
		time.AfterFunc(time.Second, func() { cancel(left) })
		err := call(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, left)
		wg.Wait()
		require.Len(t, sent, 1+waiters)
		require.GreaterOrEqual(t, sent[1], 4*time.Second)
		for i := range sent[2:] {
			require.GreaterOrEqual(t, sent[2+i], 8*time.Second)
			require.NotEqual(t, sent[1+i], sent[2+i])
		}
	})
}

// A gateway whose one user had spent his quota refused its other users as well.
func TestQuotaOfEachUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spent := map[string]bool{"token 1": true}
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
			if spent[req.Header.Get("Authorization")] {
				resp.StatusCode = http.StatusTooManyRequests
				resp.Header.Set("RateLimit", `"default";r=0;t=60;pk=:dXNlcjE=:`)
			}
			return resp, nil
		}), gatesOnly)
		call := func(field, value string) error {
			req := newRequest(t, http.MethodGet, bubbleURL, nil)
			req.Header.Set(field, value)
			_, err := rt.RoundTrip(req) //nolint:bodyclose // It is http.NoBody.
			return err
		}
		require.NoError(t, call("Authorization", "token 1"))
		require.ErrorIs(t, call("Authorization", "token 1"), stabilityhttp.ErrQuota)
		require.NoError(t, call("Authorization", "token 2"))
		require.NoError(t, call("Cookie", "token 1"))
		require.NoError(t, call("X-Forwarded-For", "192.0.2.1"))
		require.NoError(t, call("Accept", "text/html"))
	})
}

// Past the bound on hosts, they do not hear of one another's quotas.
func TestQuotaOfManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{status{429, "RateLimit", `"default";r=0;t=5`}}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Keys: stability.Keys{Max: 10}, Off: stabilityhttp.PartRetry})
		for i := range 20 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, "http://upstream"+strconv.Itoa(i)+".test/", nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
	})
}

// Every attempt takes a token of its host's.
//
// Contract: 23
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{503, 200}}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{RateLimit: ratelimit.Config{Rate: 1, Burst: 3}})
		for range 2 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.Equal(t, stability.Calls{Succeeded: 2, Failed: 1, Rejected: 1}, rt.Gates("upstream.test:80").RateLimit.Stats().Calls)
	})
}
