package main

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQueriesWithoutEndAreContained(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^prices, 4 callers at a time +4 +0 +0 `, out.String())
	require.Regexp(t, `(?m)^a report without end, 50 callers +0 +[1-9]\d* +[1-9]\d* `, out.String())
	require.Regexp(t, `(?m)^prices while the breaker is open +0 +0 +4 `, out.String())
	require.Regexp(t, `(?m)^prices after its probe +4 +0 +0 `, out.String())
	require.Regexp(t, `(?m)^Callers who waited in database/sql.*: 0$`, out.String())
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
}
