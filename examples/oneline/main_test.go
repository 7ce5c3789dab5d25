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

func TestTheOneLineAnswersAll(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^http.Client +90  100$`, out.String())
	require.Regexp(t, `(?m)^with the one line +100  111$`, out.String(), "each failure costs one request more")
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, run(ctx, io.Discard), "got 0 answers")
}
