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

func TestTiersDoNotMultiply(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^  every tier retries +1350  27\.0$`, out.String())
	require.Regexp(t, `(?m)^  attempts are marked +150  3\.0$`, out.String())
	require.Regexp(t, `(?m)^  and retries have a budget +\d+  1\.\d$`, out.String())
	require.Regexp(t, `(?m)^  without the deadline +\d+  [1-9]\d*$`, out.String())
	require.Regexp(t, `(?m)^  the deadline travels along +\d+  \d+$`, out.String())
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, run(ctx, io.Discard), "0 calls at C")
}
