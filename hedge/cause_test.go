package hedge_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/hedge"
)

// The cause that a caller canceled with was lost in a hedge: a service that shuts down saw
// "context canceled" where it had said why.
func TestCauseOfTheCallersEnd(t *testing.T) {
	shutdown := errors.New("shutting down")
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: delay})
		for _, after := range []time.Duration{0, delay / 2, 2 * delay} {
			ctx, cancel := context.WithCancelCause(t.Context())
			if after == 0 {
				cancel(shutdown)
			} else {
				time.AfterFunc(after, func() { cancel(shutdown) })
			}
			seen := make(chan error, 2)
			_, err := hedge.Do(ctx, h, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				seen <- context.Cause(ctx)
				return 0, ctx.Err()
			})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, shutdown)
			for range len(seen) {
				require.Equal(t, shutdown, <-seen, "the calls are told too")
			}
		}
	})
}
