package stabilityhttp_test

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

func byHeader(r *http.Request) string { return r.Header.Get("X-Client") }

func TestHandlerLimitsEachClient(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.5, Burst: 3}, stability.Keys{})
				guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, "served")
				}), stabilityhttp.HandlerConfig{RateLimit: limits, Client: byHeader})
				url, client := listenInMemory(t, protocol, guarded)

				for left, quota := range []string{`"default";r=2;t=4`, `"default";r=1;t=2`, `"default";r=0;t=2`} {
					resp, body := ask(t, client, url, "X-Client", "a")
					require.Equal(t, http.StatusOK, resp.StatusCode)
					require.Equal(t, "served", body)
					require.Equal(t, quota, resp.Header.Get("RateLimit"), left)
					require.Equal(t, `"default";q=3;w=6`, resp.Header.Get("RateLimit-Policy"))
				}
				time.Sleep(500 * time.Millisecond)
				resp, body := ask(t, client, url, "X-Client", "a")
				p := requireProblem(t, resp, body, http.StatusTooManyRequests, "https://iana.org/assignments/http-problem-types#quota-exceeded")
				require.Equal(t, []string{"default"}, p.ViolatedPolicies)
				require.Contains(t, []string{"2", "3"}, resp.Header.Get("Retry-After"), "one and a half, rounded up, or a second more")
				ms, err := strconv.Atoi(resp.Header.Get(stabilityhttp.RetryAfterMsHeader))
				require.NoError(t, err)
				require.GreaterOrEqual(t, ms, 1500)
				require.LessOrEqual(t, ms, 2250)
				require.Equal(t, `"default";r=0;t=2`, resp.Header.Get("RateLimit"))
				require.Equal(t, `"default";q=3;w=6`, resp.Header.Get("RateLimit-Policy"))

				resp, _ = ask(t, client, url, "X-Client", "b")
				require.Equal(t, http.StatusOK, resp.StatusCode, "another client")

				time.Sleep(2 * time.Second)
				resp, _ = ask(t, client, url, "X-Client", "a")
				require.Equal(t, http.StatusOK, resp.StatusCode, "it came back when it was told to")
				require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 5, Rejected: 1}, Limited: 1}, guarded.Stats())
			})
		})
	}
}

// A client's requests come from many ports.
func TestHandlerLimitsByAddress(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 2}, stability.Keys{})
	url, client := listen(t, "HTTP/1.1", stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
		Name: "shop", RateLimit: limits,
	}))
	var statuses []int
	for range 3 {
		resp, _ := ask(t, client, url)
		client.CloseIdleConnections()
		statuses = append(statuses, resp.StatusCode)
		require.Equal(t, `"shop";q=2;w=2000`, resp.Header.Get("RateLimit-Policy"))
	}
	require.Equal(t, []int{404, 404, 429}, statuses)
	require.NotNil(t, limits.Get("127.0.0.1"))
	require.Less(t, limits.Get("127.0.0.1").Stats().Tokens, 1.0)
}

// A client may wait for a token, but not past its deadline.
func TestHandlerWaitsForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.1, Burst: 1, MaxWait: time.Minute}, stability.Keys{})
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			stabilityhttp.HandlerConfig{RateLimit: limits, Client: byHeader})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		began := time.Now()
		ask(t, client, url)
		resp, _ := ask(t, client, url, stabilityhttp.DeadlineHeader, "5000")
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, after, 10)
		require.LessOrEqual(t, after, 15)
		require.Zero(t, time.Since(began))
		resp, _ = ask(t, client, url, stabilityhttp.DeadlineHeader, "20000")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// The token of a request that the bulkhead refuses is spent: the client did ask.
func TestHandlerThatIsFullAndLimited(t *testing.T) {
	limit := bulkhead.New(bulkhead.Config{Limit: 1})
	pass, err := limit.Enter(t.Context())
	require.NoError(t, err)
	defer func() { _ = pass.Done(nil) }()
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
		RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 1}, stability.Keys{}),
		Bulkhead:  limit,
	})
	var statuses []int
	for range 2 {
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		statuses = append(statuses, w.Code)
		require.Equal(t, w.Code == http.StatusTooManyRequests, w.Header().Get("RateLimit") != "")
	}
	require.Equal(t, []int{503, 429}, statuses)
}

// A client that keeps to what the fields say gets the rate, also where it is many a
// second and the burst few.
func TestQuotaInWholeSeconds(t *testing.T) {
	for _, c := range []struct {
		rate   float64
		burst  int
		policy string
		limits []string // after the first request, the second, …
	}{
		{10, 1, `q=10;w=1`, []string{`r=10;t=1`}},
		{10, 15, `q=20;w=2`, []string{`r=20;t=2`, `r=20;t=2`, `r=20;t=2`, `r=20;t=2`, `r=10;t=1`}},
		{1.5, 1, `q=1;w=1`, []string{`r=1;t=1`}},
		{1, 2, `q=2;w=2`, []string{`r=1;t=1`, `r=0;t=1`}},
		{0.4, 2, `q=2;w=5`, []string{`r=1;t=3`, `r=0;t=3`}},
	} {
		synctest.Test(t, func(t *testing.T) {
			guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
				RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: c.rate, Burst: c.burst}, stability.Keys{}),
			})
			for _, limit := range c.limits {
				w := httptest.NewRecorder()
				guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				require.Equal(t, `"default";`+c.policy, w.Header().Get("RateLimit-Policy"), "%+v", c)
				require.Equal(t, `"default";`+limit, w.Header().Get("RateLimit"), "%+v", c)
			}
		})
	}
}

// Rates at both ends of what is possible make fields that can be read, and times that
// can be waited.
func TestQuotaOfExtremeRates(t *testing.T) {
	for _, rate := range []float64{math.SmallestNonzeroFloat64, 1e-300, 1e-9, 1, 1e9, 1e300, math.MaxFloat64} {
		for _, burst := range []int{1, 1 << 30} {
			guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
				RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: rate, Burst: burst}, stability.Keys{}),
			})
			for range 2 {
				w := httptest.NewRecorder()
				guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				require.Regexp(t, `^"default";q=[1-9][0-9]{0,14};w=[1-9][0-9]{0,14}$`, w.Header().Get("RateLimit-Policy"), rate)
				require.Regexp(t, `^"default";r=[0-9]{1,15};t=[1-9][0-9]{0,14}$`, w.Header().Get("RateLimit"), rate)
			}
		}
	}
}

// A name is a String of Structured Fields in the header and in JSON what it is.
func TestQuotaOfAStrangeName(t *testing.T) {
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
		Name:      "a\"b\r\nSet-Cookie: c=é",
		RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 1}, stability.Keys{}),
	})
	url, client := listen(t, "HTTP/1.1", guarded)
	resp, _ := ask(t, client, url)
	require.Equal(t, `"a\"b??Set-Cookie: c=?";q=1;w=1000`, resp.Header.Get("RateLimit-Policy"))
	require.Empty(t, resp.Cookies())
	resp, body := ask(t, client, url)
	p := requireProblem(t, resp, body, http.StatusTooManyRequests, "https://iana.org/assignments/http-problem-types#quota-exceeded")
	require.Equal(t, []string{"a\"b\r\nSet-Cookie: c=é"}, p.ViolatedPolicies)
}

// Ten thousand clients do not cost ten thousand limiters.
//
// Contract: 42
func TestLimitsOfClientsAreBounded(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 1e-6, Burst: 1}, stability.Keys{Max: 100})
	guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		stabilityhttp.HandlerConfig{RateLimit: limits, Client: byHeader})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := range 10_000 {
		r.Header.Set("X-Client", strconv.Itoa(i))
		guarded.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.Positive(t, guarded.Stats().Limited, "past the bound clients share a limiter")
	require.Positive(t, limits.Stats().Overflowed)
}
