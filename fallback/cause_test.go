package fallback_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/fallback"
)

// The cause that a caller canceled with was lost in a fallback: a service that shuts down
// saw "context canceled" where it had said why.
func TestCauseOfTheCallersEnd(t *testing.T) {
	shutdown := errors.New("shutting down")
	synctest.Test(t, func(t *testing.T) {
		f := fallback.New(fallback.Config{})
		instead := func(context.Context, error) (int, error) { return 7, nil }
		for _, after := range []time.Duration{0, time.Second} {
			ctx, cancel := context.WithCancelCause(t.Context())
			if after == 0 {
				cancel(shutdown)
			} else {
				time.AfterFunc(after, func() { cancel(shutdown) })
			}
			_, degraded, err := fallback.Do(ctx, f, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, instead)
			require.Nil(t, degraded)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, shutdown)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, shutdown)
		defer cancel()
		v, degraded, err := fallback.Do(ctx, f, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, instead)
		require.NoError(t, err)
		require.Equal(t, 7, v)
		require.ErrorIs(t, degraded.Cause, shutdown, "what the value stands in for has its cause too")
	})
}
