package timeout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/timeout"
)

// The cause that a caller canceled with was lost where a timeout did not start the call; and
// the call sees it, whether its deadline or its caller's is the earlier one.
func TestCauseOfTheCallersEnd(t *testing.T) {
	shutdown := errors.New("shutting down")
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []time.Duration{time.Minute, time.Hour} {
			to := timeout.New(timeout.Config{After: limit})
			within, stop := context.WithTimeout(t.Context(), 10*time.Minute)
			ctx, cancel := context.WithCancelCause(within)
			err := to.Run(ctx, func(ctx context.Context) error { cancel(shutdown); return context.Cause(ctx) })
			require.Equal(t, shutdown, err)
			for _, err := range []error{
				to.Run(ctx, func(context.Context) error { t.Error("the call ran"); return nil }),
				func() error { _, err := to.Enter(ctx); return err }(),
			} {
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, shutdown)
			}
			stop()
		}
	})
}
