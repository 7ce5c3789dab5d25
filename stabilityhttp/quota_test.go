package stabilityhttp_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

// A host that refuses, and says that nothing is left, is left alone for as long as it
// says, but for no longer than a minute. One that answers is asked again: it may have
// taken the last of the quota of one endpoint, and have enough left for the next.
func TestQuota(t *testing.T) {
	for _, c := range []struct {
		status int
		field  string
		until  time.Duration
	}{
		{429, `"default";r=0;t=5`, 5 * time.Second},
		{503, `"default";r=0;t=5`, 5 * time.Second},
		{429, `"default";r=0;t=86400`, time.Minute},
		{429, `"default";r=1;t=5`, 0},
		{429, `"default";r=0`, 0},
		{429, `garbage;;`, 0},
		{200, `"search";r=0;t=3600`, 0},
		{404, `"search";r=0;t=3600`, 0},
		{500, `"search";r=0;t=3600`, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &answers{t: t, all: []any{status{c.status, "RateLimit", c.field}, 200}}
			call := func(rt *stabilityhttp.Transport, url string) error {
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, nil))
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Name: "inventory", Off: stabilityhttp.PartRetry})
			require.NoError(t, call(rt, bubbleURL))
			if c.until > 0 {
				time.Sleep(time.Second)
				err := call(rt, bubbleURL)
				require.ErrorIs(t, err, stabilityhttp.ErrQuota)
				var rejection *stability.Rejection
				require.ErrorAs(t, err, &rejection)
				require.Equal(t, stability.Rejection{
					Policy: "quota", Name: "inventory", Key: "upstream.test:80",
					Reason: stabilityhttp.ErrQuota, RetryAfter: c.until - time.Second,
				}, *rejection)
				require.NoError(t, call(rt, "http://other.test"))
				time.Sleep(c.until - time.Second)
			}
			require.NoError(t, call(rt, bubbleURL))

			base.calls = 0
			rt = stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Off: stabilityhttp.PartQuota | stabilityhttp.PartRetry})
			require.NoError(t, call(rt, bubbleURL))
			require.NoError(t, call(rt, bubbleURL))
		})
	}
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
