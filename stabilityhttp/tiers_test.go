package stabilityhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
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

// A tier answers with what the next one answered it.
func tier(t testing.TB, next *http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, body, err := tryAsk(r.Context(), next, bubbleURL)
		if err != nil {
			http.Error(w, "the next tier did not answer", http.StatusBadGateway)
			return
		}
		w.WriteHeader(resp.StatusCode)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	})
}

// Five clients that try three times each, four servers between them, and a leaf that is
// down: the one furthest out tries three times, and no other does.
//
// Contract: 31
func TestTiersDoNotMultiply(t *testing.T) {
	for guarded, want := range map[bool]int64{true: 3, false: 3 * 3 * 3 * 3 * 3} {
		t.Run(fmt.Sprintf("marks taken up: %t", guarded), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					calls.Add(1)
					http.Error(w, "down", http.StatusServiceUnavailable)
				})
				cfg := stabilityhttp.TransportConfig{
					Timeout: time.Hour,
					Off:     stabilityhttp.PartBreaker,
					Retry:   retry.Config{Attempts: 3, Budget: retry.Unlimited()},
				}
				var client *http.Client
				for n := range 5 {
					if n > 0 {
						h = tier(t, client)
						if guarded {
							h = stabilityhttp.NewHandler(h, stabilityhttp.HandlerConfig{})
						}
					}
					client = &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, h.ServeHTTP), cfg)}
				}
				resp, _ := ask(t, client, bubbleURL)
				require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
				require.Equal(t, want, calls.Load())
			})
		})
	}
}

// A server in the middle says 500 where the leaf is down, as many handlers do with any
// error. The client further out does not repeat what a 500 says, and the one in the
// middle leaves it to that one: nobody tries again. One that passes 503 on is retried.
//
// Contract: 31
func TestWhatAMiddleTierAnswers(t *testing.T) {
	for status, want := range map[int]int64{
		http.StatusInternalServerError: 1, http.StatusBadGateway: 3, http.StatusServiceUnavailable: 3, http.StatusGatewayTimeout: 3,
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			leaf := memoryUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				http.Error(w, "down", http.StatusServiceUnavailable)
			})
			toLeaf := &http.Client{Transport: stabilityhttp.NewTransport(leaf, stabilityhttp.TransportConfig{})}
			middle := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if resp, _, err := tryAsk(r.Context(), toLeaf, bubbleURL); err != nil || resp.StatusCode != http.StatusOK {
					http.Error(w, "the leaf did not answer", status)
				}
			}), stabilityhttp.HandlerConfig{})
			client := &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, middle.ServeHTTP), stabilityhttp.TransportConfig{})}
			resp, _ := ask(t, client, bubbleURL)
			require.Equal(t, status, resp.StatusCode)
			require.Equal(t, want, calls.Load(), status)
		})
	}
}

// What a server of ours says, a client of ours does: it is not refused twice.
//
// Contract: 38
func TestClientObeysHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			stabilityhttp.HandlerConfig{RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 0.2, Burst: 1}, stability.Keys{})})
		send := func() (*http.Response, error) {
			// A client each time: another process behind the same address.
			client := &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, guarded.ServeHTTP), stabilityhttp.TransportConfig{})}
			resp, _, err := tryAsk(t.Context(), client, bubbleURL)
			return resp, err
		}
		began := time.Now()
		for range 2 {
			resp, err := send()
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
		}
		waited := time.Since(began)
		require.GreaterOrEqual(t, waited, 5*time.Second)
		// The Handler spreads what it says by half, and the client what it hears by half of
		// that; its own backoff comes on top.
		require.Less(t, waited, 13*time.Second)
		require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 2, Rejected: 1}, Limited: 1}, guarded.Stats())
	})
}

// The client gives up, and what it held at the server two tiers on comes back.
//
// Contract: 40
func TestAClientThatGivesUpFreesAllTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits []*bulkhead.Bulkhead
		var h http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		var client *http.Client
		for n := range 3 {
			if n > 0 {
				h = tier(t, client)
			}
			limits = append(limits, bulkhead.New(bulkhead.Config{Limit: 1}))
			h = stabilityhttp.NewHandler(h, stabilityhttp.HandlerConfig{Bulkhead: limits[n]})
			cfg := gatesOnly
			cfg.Off |= stabilityhttp.PartDeadlineHeader // the connections alone must tell
			client = &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, h.ServeHTTP), cfg)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error)
		go func() {
			_, _, err := tryAsk(ctx, client, bubbleURL)
			done <- err
		}()
		synctest.Wait()
		for _, limit := range limits {
			require.Equal(t, 1, limit.Stats().InUse)
		}
		require.ErrorIs(t, <-done, context.DeadlineExceeded)
		synctest.Wait()
		for _, limit := range limits {
			require.Zero(t, limit.Stats().InUse)
		}
	})
}
