package stabilityhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// The context ended while the headers were on their way from the base to the caller:
// too early for what waits for the end of a body, and nobody else saw to a body that
// the caller then forgot. The permit was lost.
func TestContextEndsAsTheHeadersCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("late"))}, nil
		}), gatesOnly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // That is what this is about.
		require.NoError(t, err)
		requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
	})
}

// The context ended during a Read that brought data all the same. The end of the
// context had left the end of the attempt to the Read, and the Read to the next one,
// which never came. The permit was lost.
func TestContextEndsDuringTheLastRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func(p []byte) (int, error) {
				<-req.Context().Done()
				synctest.Wait()
				return len(p), nil
			}))}, nil
		}), gatesOnly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil).WithContext(ctx)) //nolint:bodyclose // That is what this is about.
		require.NoError(t, err)
		n, err := resp.Body.Read(make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 10, n)
		requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
	})
}

// The base's body panicked while Close read what was left of it. Close had noted that
// it had begun, so nobody else gave back what the attempt had taken.
func TestBodyPanicsInClose(t *testing.T) {
	rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1,
			Body: io.NopCloser(readerFunc(func([]byte) (int, error) { panic("the base") })),
		}, nil
	}), gatesOnly)
	resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
	require.NoError(t, err)
	require.PanicsWithValue(t, "the base", func() { _ = resp.Body.Close() })
	require.Zero(t, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
	require.NoError(t, resp.Body.Close())
}

// Close gives a body that does not end some milliseconds. They passed for the time
// limit of the request: a failing status counted as a timeout, and who read after the
// Close was told that 30 s had passed.
func TestCloseIsNoTimeout(t *testing.T) {
	bubble(t, gatesOnly, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(t *testing.T, c *http.Client, rt *stabilityhttp.Transport) {
		resp, err := get(t, c, bubbleURL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		_, err = resp.Body.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, timeout.ErrExceeded)
		attempts := rt.Stats().Attempts
		require.EqualValues(t, 1, attempts.Failed)
		require.Zero(t, attempts.Exceeded)
	})
}

// A base that looks at the error of its context now and then, and waits for nothing,
// never saw that the time was up: only Done set the timer.
//
// Contract: 20
func TestBaseThatPolls(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  stabilityhttp.TransportConfig
		took time.Duration
	}{
		"the total timeout":   {stabilityhttp.TransportConfig{Timeout: 5 * time.Second, Off: stabilityhttp.PartRetry | stabilityhttp.PartAttemptTimeout}, 5 * time.Second},
		"the attempt timeout": {stabilityhttp.TransportConfig{AttemptTimeout: 3 * time.Second, Off: stabilityhttp.PartRetry}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					for req.Context().Err() == nil && time.Since(start) < time.Hour {
						time.Sleep(time.Second)
					}
					return nil, req.Context().Err()
				}), c.cfg)
				_, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil)) //nolint:bodyclose // There is none.
				require.ErrorIs(t, err, timeout.ErrExceeded)
				require.Equal(t, c.took, time.Since(start))
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
			})
		})
	}
}

// net/http sends a request again by itself where a connection turns out dead, with a
// body that it has from GetBody. The time limit did not know that one, and counted the
// caller's time for it as the server's.
//
// Contract: 36
func TestBodySentAgainByTheBase(t *testing.T) {
	slow := func() io.ReadCloser {
		return io.NopCloser(io.LimitReader(readerFunc(func(p []byte) (int, error) {
			time.Sleep(time.Minute)
			return copy(p, "a piece"), nil
		}), 70))
	}
	send := func(t *testing.T, getBody func() (io.ReadCloser, error)) error {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			context.AfterFunc(req.Context(), func() {}) // as net/http does; it sets the timer
			if _, err = io.Copy(io.Discard, again); err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, req.Context().Err()
		}), stabilityhttp.TransportConfig{Timeout: time.Hour, AttemptTimeout: time.Second})
		req := newRequest(t, http.MethodPut, bubbleURL, slow())
		req.GetBody = getBody
		_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
		return err
	}
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, send(t, func() (io.ReadCloser, error) { return slow(), nil }))
	})
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("gone")
		require.ErrorIs(t, send(t, func() (io.ReadCloser, error) { return nil, failed }), failed)
	})
}

// A response that might have been made again after left the gates with its headers.
// Where it turned out to be the last, its body was read outside of them.
//
// Contract: 35
func TestTheLastResponseHoldsTheGates(t *testing.T) {
	for name, cfg := range map[string]retry.Config{
		"attempts": {Attempts: 2},
		"budget":   {Budget: retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: 0.1})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{t: t, all: []any{503}}
				rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{Retry: cfg})
				resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
				require.NoError(t, err)
				require.Equal(t, 2, base.calls)
				require.Equal(t, 1, base.open)
				require.Equal(t, 1, rt.Gates("upstream.test:80").Bulkhead.Stats().InUse)
				require.EqualValues(t, 1, rt.Gates("upstream.test:80").Breaker.Stats().Failed)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "answer 2", string(body))
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 2})
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}

// Where a response had both fields, the retry waited for Retry-After and the quota
// for RateLimit: the second attempt was refused by the client itself. Retry-After
// takes precedence.
//
// Contract: 38
func TestRetryAfterBesideRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &answers{t: t, all: []any{429, 200}}
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := base.RoundTrip(req)
			if resp.StatusCode == http.StatusTooManyRequests {
				resp.Header.Set("Retry-After", "2")
				resp.Header.Set("RateLimit", `"default";r=0;t=20`)
			}
			return resp, err
		}), stabilityhttp.TransportConfig{})
		start := time.Now()
		resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, bubbleURL, nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.Less(t, time.Since(start), 3*time.Second)
	})
}

// A body shorter or longer than its ContentLength is the caller's mistake. It was sent
// three times, and each counted as a failure of the server.
func TestBodyOfAnotherLength(t *testing.T) {
	for _, protocol := range protocols {
		for _, body := range []string{"abc", "abcdefghijklmnopqrstuvwxyz"} {
			if protocol == "HTTP/2.0" && len(body) < 10 {
				continue // net/http sends that as it is, and leaves it to the server
			}
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d bytes, stream %t", protocol, len(body), stream), func(t *testing.T) {
					url, client := listen(t, protocol, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						_, _ = io.Copy(io.Discard, r.Body)
						<-r.Context().Done() // nothing it could answer comes first
					}))
					retried := false
					rt := stabilityhttp.NewTransport(client.Transport, stabilityhttp.TransportConfig{Retry: retry.Config{
						OnRetry: func(context.Context, error, time.Duration) { retried = true },
					}})
					var content io.Reader = strings.NewReader(body)
					if stream {
						content = io.MultiReader(content)
					}
					req := newRequest(t, http.MethodPut, url, content)
					req.ContentLength = 10
					_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
					require.Error(t, err)
					require.NotErrorIs(t, err, timeout.ErrExceeded)
					require.False(t, retried)
					requireCalls(t, rt, url, stability.Calls{Ignored: 1})
				})
			}
		}
	}
}
