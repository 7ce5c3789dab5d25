package ended_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/internal/ended"
)

func TestErr(t *testing.T) {
	require.NoError(t, ended.Err(t.Context()))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, ended.Err(ctx), "without a cause it is the context's own error")

	shutdown := errors.New("shutting down")
	ctx, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(shutdown)
	err := ended.Err(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, shutdown)
	require.EqualError(t, err, "context canceled: shutting down")

	wrapped := fmt.Errorf("the call: %w", context.Canceled)
	require.ErrorIs(t, ended.Of(ctx, wrapped), shutdown)
	require.ErrorIs(t, ended.Of(ctx, wrapped), wrapped)
	require.NoError(t, ended.Of(ctx, nil))
	require.Equal(t, net.ErrClosed, ended.Of(ctx, net.ErrClosed), "another error is no end of the context")
	require.Equal(t, wrapped, ended.Of(t.Context(), wrapped), "nor is one of another context")

	late := errors.New("too late")
	ctx, cancel = context.WithDeadlineCause(t.Context(), time.Now().Add(-time.Second), late)
	defer cancel()
	err = ended.Err(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, late)
	var netErr net.Error
	require.ErrorAs(t, err, &netErr)
	require.True(t, netErr.Timeout())
	require.Equal(t, err, ended.With(ctx, err), "a cause is told once")
}
