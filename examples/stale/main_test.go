package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachPriceIsMarkedAsWhatItIs(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^up +umbrella +19\.99 +fresh +1 *$`, out.String())
	require.Regexp(t, `(?m)^down +umbrella +19\.99 +stale +[\d.]+[µm]s +1 +status 503$`, out.String())
	require.Regexp(t, `(?m)^down +kettle +ask us +instead +1 +status 503$`, out.String())
	require.Regexp(t, `(?m)^down +umbrella +19\.99 +stale +[\d.]+[µm]s +0 +prices: breaker: circuit open`, out.String())
	require.Regexp(t, `(?m)^down +kettle +ask us +instead +0 +prices: breaker: circuit open`, out.String())
	require.Regexp(t, `(?m)^up +kettle +19\.99 +fresh +1 *$`, out.String())
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
}

// A price is not shown from yesterday where there is none any more, or none for us.
func TestWhatIsGoneIsNotShown(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		status := http.StatusOK
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "19.99")
		}))
		shop := newShop(service.URL)
		for _, step := range []struct {
			status int
			want   string
		}{{http.StatusOK, "19.99"}, {http.StatusInternalServerError, "19.99"}, {code, "ask us"}, {http.StatusInternalServerError, "ask us"}} {
			status = step.status
			price, _, err := shop.price(t.Context(), "umbrella")
			require.NoError(t, err)
			require.Equal(t, step.want, price, "%d after %d", code, step.status)
		}
		shop.client.CloseIdleConnections()
		service.Close()
	}
}
