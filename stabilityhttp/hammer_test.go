package stabilityhttp_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// All parts on, servers that do whatever a server can do, callers who do whatever a
// caller can: at rest nothing is taken, nothing runs, and every attempt has one
// outcome.
//
// Contract: 14, 33, 43, 44, 45
func TestAnyMixture(t *testing.T) {
	cfg := stabilityhttp.TransportConfig{
		Timeout:      200 * time.Millisecond,
		StallTimeout: 20 * time.Millisecond,
		Retry:        retry.Config{Base: time.Millisecond, Budget: retry.Unlimited()},
		Hedge:        &hedge.Config{Delay: 3 * time.Millisecond},
		RateLimit:    ratelimit.Config{Rate: 5000, MaxWait: 10 * time.Millisecond},
		Bulkhead:     bulkhead.Config{Limit: 10, Queue: 5, MaxWait: 5 * time.Millisecond},
	}
	cfg.Breaker.OpenFor = 5 * time.Millisecond
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	sent := map[string]*atomic.Int64{}
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		sent[stabilityhttp.HostPort(req)].Add(1)
		return base.RoundTrip(req)
	}), cfg)
	c := &http.Client{Transport: rt}
	faults := []func(net.Conn){reset, truncate, truncateChunked, resetBody, hang, hangBody, garbage, badGzip}
	urls := []string{
		rawUpstream(t, func(conn net.Conn) { faults[rand.IntN(len(faults))](conn) }),
		upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if rand.IntN(2) == 0 {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			switch rand.IntN(6) {
			case 0:
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
			case 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 2:
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(make([]byte, rand.IntN(50_000)))
		}),
		refusing(t),
	}
	for _, url := range urls {
		sent[key(t, url)] = new(atomic.Int64)
	}
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost}
	call := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(100))*time.Millisecond)
		defer cancel()
		var body io.Reader
		if rand.IntN(2) == 0 {
			body = strings.NewReader(strings.Repeat("x", rand.IntN(100_000)))
		}
		req, err := http.NewRequestWithContext(ctx, methods[rand.IntN(len(methods))], urls[rand.IntN(len(urls))], body)
		if err != nil {
			t.Error(err)
			return
		}
		if rand.IntN(4) == 0 {
			req.GetBody = nil
		}
		resp, err := c.Do(req)
		switch {
		case err != nil:
			return
		case rand.IntN(3) == 0: // nor reads nor closes: the context does it
			return
		case rand.IntN(2) == 0:
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		resp.Body.Close()
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				call()
			}
		})
	}
	wg.Wait()
	for _, url := range urls {
		atRest(rt.Gates(key(t, url)), sent[key(t, url)])
	}
}

// atRest waits until everything has come back: what a canceled context gives back, it
// does on a goroutine of its own. It waits for ever should something not come back,
// or an attempt that was sent have none or two outcomes.
func atRest(gates stabilityhttp.Gates, sent *atomic.Int64) {
	for {
		bulkhead, breaker := gates.Bulkhead.Stats(), gates.Breaker.Stats()
		if bulkhead.InUse == 0 && bulkhead.Queued == 0 && breaker.Probing == 0 && breaker.Started() == sent.Load() &&
			bulkhead.Started() >= breaker.Started() {
			return
		}
		<-time.After(time.Millisecond)
	}
}
