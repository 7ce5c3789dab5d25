package stabilityhttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/stabilityhttp"
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
