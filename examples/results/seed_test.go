package results

import (
	"context"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/antagonist"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// requireAlike requires that two runs of one scenario were the same, request by
// request, but for the goroutines that the process had.
func requireAlike(t *testing.T, a, b *antagonist.Result) {
	t.Helper()
	figures := func(r antagonist.Result) antagonist.Result {
		r.Variant, r.Scenario, r.Goroutines = "", antagonist.Scenario{}, 0
		r.Seconds = slices.Clone(r.Seconds)
		for i := range r.Seconds {
			r.Seconds[i].Goroutines = 0
		}
		return r
	}
	require.Equal(t, figures(*a), figures(*b), "the same seed gives the same run")
}

// All results rest on seeds. The longest way from a seed to a figure is through a
// guarded client over HTTP, whose retries and breaker draw by chance.
func TestSeedOverHTTP(t *testing.T) {
	t.Parallel()
	run := func() *antagonist.Result {
		return antagonist.Run(t, antagonist.Scenario{
			For:  10 * time.Second,
			Seed: 3,
			Load: antagonist.Load{{Rate: antagonist.Constant(100), Patience: 3 * time.Second}},
			Servers: []antagonist.Server{{
				Name: "shop", Workers: 15, Service: antagonist.Exponential(30 * time.Millisecond),
				Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "hello") }),
			}},
			Faults: []antagonist.Fault{
				{Server: "shop", From: 1 * time.Second, To: 4 * time.Second, Fail: true, Share: 0.8},
				{Server: "shop", From: 6 * time.Second, To: 8 * time.Second, Hang: true},
			},
			Client: func(w *antagonist.World) antagonist.Client {
				client := &http.Client{Transport: stabilityhttp.NewTransport(w.Transport(), stabilityhttp.TransportConfig{
					Timeout: 500 * time.Millisecond,
					Retry:   retry.Config{Jitter: w.Jitter},
					Breaker: breaker.Config{OpenFor: 500 * time.Millisecond, Jitter: w.Jitter},
				})}
				return func(ctx context.Context, _ *antagonist.Request) error {
					request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop/", nil)
					if err != nil {
						return err
					}
					response, err := client.Do(request)
					if err != nil {
						return err
					}
					defer func() { _ = response.Body.Close() }()
					_, err = io.Copy(io.Discard, response.Body)
					return err
				}
			},
			Refused: refused,
		})
	}
	first := run()
	require.Positive(t, first.Seconds[2].Refused, "the breaker was open while the server failed,")
	require.Positive(t, first.Seconds[7].Refused, "and while it hung")
	for range 2 {
		requireAlike(t, first, run())
	}
}
