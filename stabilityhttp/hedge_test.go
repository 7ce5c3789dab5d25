package stabilityhttp_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// lagging is a base whose answers take their time, each as long as its number says.
type lagging struct {
	after func(call int32) (time.Duration, int) // the status
	calls atomic.Int32
	open  atomic.Int32 // bodies not closed
	mu    sync.Mutex
	sent  []string // request bodies
}

func (l *lagging) RoundTrip(req *http.Request) (*http.Response, error) {
	n := l.calls.Add(1)
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		req.Body.Close()
		l.mu.Lock()
		l.sent = append(l.sent, string(b))
		l.mu.Unlock()
	}
	delay, status := l.after(n)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	l.open.Add(1)
	return &http.Response{
		StatusCode: status, Header: http.Header{},
		Body: &laggingBody{ctx: req.Context(), Reader: strings.NewReader("answer " + strconv.Itoa(int(n))), open: &l.open},
	}, nil
}

// laggingBody ends with its request's context, as those of net/http do.
type laggingBody struct {
	io.Reader
	ctx  context.Context
	open *atomic.Int32
	once sync.Once
}

func (b *laggingBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func (b *laggingBody) Close() error {
	b.once.Do(func() { b.open.Add(-1) })
	return nil
}

var hedged = stabilityhttp.TransportConfig{Hedge: &hedge.Config{Delay: 100 * time.Millisecond}}

// Contract: 32
func TestHedge(t *testing.T) {
	slowFirst := func(call int32) (time.Duration, int) {
		if call == 1 {
			return 5 * time.Second, 200
		}
		return 50 * time.Millisecond, 200
	}
	for _, c := range []struct {
		name   string
		method string
		body   io.Reader
		after  func(int32) (time.Duration, int)
		took   time.Duration
		calls  stability.Calls
		answer string
	}{
		{"a slow first", http.MethodGet, nil, slowFirst, 150 * time.Millisecond, stability.Calls{Succeeded: 1, Ignored: 1}, "answer 2"},
		{"a body that can be had again", http.MethodPut, strings.NewReader("payload"), slowFirst, 150 * time.Millisecond, stability.Calls{Succeeded: 1, Ignored: 1}, "answer 2"},
		{"one that cannot", http.MethodPut, io.MultiReader(strings.NewReader("payload")), slowFirst, 5 * time.Second, stability.Calls{Succeeded: 1}, "answer 1"},
		{"not idempotent", http.MethodPost, nil, slowFirst, 5 * time.Second, stability.Calls{Succeeded: 1}, "answer 1"},
		{"a fast first", http.MethodGet, nil, func(int32) (time.Duration, int) { return 50 * time.Millisecond, 200 }, 50 * time.Millisecond, stability.Calls{Succeeded: 1}, "answer 1"},
		{"a second that fails", http.MethodGet, nil, func(call int32) (time.Duration, int) {
			if call == 2 {
				return 0, 503
			}
			return 300 * time.Millisecond, 200
		}, 300 * time.Millisecond, stability.Calls{Succeeded: 1, Failed: 1}, "answer 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &lagging{after: c.after}
				rt := stabilityhttp.NewTransport(base, hedged)
				start := time.Now()
				resp, err := rt.RoundTrip(newRequest(t, c.method, bubbleURL, c.body))
				require.NoError(t, err)
				require.Equal(t, c.took, time.Since(start))
				b, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, c.answer, string(b))
				require.NoError(t, resp.Body.Close())
				require.Zero(t, base.open.Load())
				requireCalls(t, rt, bubbleURL, c.calls)
				for _, sent := range base.sent {
					require.Equal(t, "payload", sent)
				}
			})
		})
	}
}

// What nobody answers well is retried, and the last answer reaches the caller whole.
//
// Contract: 27, 32
func TestHedgedFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &lagging{after: func(int32) (time.Duration, int) { return 200 * time.Millisecond, 503 }}
		rt := stabilityhttp.NewTransport(base, hedged)
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "answer 5", string(b))
		require.NoError(t, resp.Body.Close())
		require.Zero(t, base.open.Load())
		require.EqualValues(t, 6, base.calls.Load())
		require.EqualValues(t, 3, rt.Stats().Hedge.Hedges)
		require.EqualValues(t, 5, rt.Stats().Hedge.Budget.Spent)
		require.EqualValues(t, 5, rt.Stats().Retry.Budget.Spent, "one budget pays for both")
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 6})
	})
}

// Retries and hedges are paid for by one budget; what it does not pay for is not
// made, and the first request goes on alone.
//
// Contract: 30, 32
func TestHedgeBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &lagging{after: func(int32) (time.Duration, int) { return time.Second, 503 }}
		cfg := hedged
		cfg.Off = stabilityhttp.PartBreaker
		cfg.Retry.Budget = retry.NewBudget(retry.BudgetConfig{MinPerSecond: 1e-9, Ratio: 1e-9})
		rt := stabilityhttp.NewTransport(base, cfg)
		for range 10 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.EqualValues(t, 10, base.calls.Load())
		require.EqualValues(t, 10, rt.Stats().Hedge.Suppressed)
		require.EqualValues(t, 10, rt.Stats().Retry.OverBudget)
	})
}

// A caller who goes away gets his own error, whatever the race was doing.
//
// Contract: 29
func TestHedgeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &lagging{after: func(int32) (time.Duration, int) { return time.Second, 200 }}
		rt := stabilityhttp.NewTransport(base, hedged)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)

		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
	})
}

// Both come at the same moment: one body reaches the caller, whole, and the other is
// closed.
//
// Contract: 32, 44
func TestPhotoFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &lagging{after: func(call int32) (time.Duration, int) {
			if call%2 == 1 {
				return 200 * time.Millisecond, 200
			}
			return 100*time.Millisecond + time.Duration(rand.IntN(3)-1)*time.Nanosecond, 200
		}}
		cfg := hedged
		cfg.Retry.Budget = retry.Unlimited()
		rt := stabilityhttp.NewTransport(base, cfg)
		for range 10_000 {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
			require.NoError(t, err)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(b), "answer "))
			require.NoError(t, resp.Body.Close())
		}
		synctest.Wait()
		require.Zero(t, base.open.Load())
		gates := rt.Gates("upstream.test:80")
		require.Zero(t, gates.Bulkhead.Stats().InUse)
		require.Zero(t, gates.Breaker.Stats().Failed)
		require.EqualValues(t, base.calls.Load(), gates.Breaker.Stats().Started())
	})
}

// A host that is slower than the others is hedged by the measure of its own answers.
func TestHedgeOfEachHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" {
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Millisecond)
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}), stabilityhttp.TransportConfig{Hedge: &hedge.Config{}})
		get := func(url string) {
			resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		for i := range 1000 {
			get(bubbleURL)
			if i%50 == 49 {
				get("http://slow.test/")
			}
		}
		require.Zero(t, rt.Stats().Hedge.Hedges)
		require.GreaterOrEqual(t, rt.Stats().Hedge.Delay, 51*time.Millisecond, "that of the slow one")
	})
}
