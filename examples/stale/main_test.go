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

func TestEachPriceIsMarkedAsWhatItIs(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^up +umbrella +19\.99 +fresh +1 *$`, out.String())
	require.Regexp(t, `(?m)^down +umbrella +19\.99 +stale +[\d.]+[µm]s +1 +503 Service Unavailable$`, out.String())
	require.Regexp(t, `(?m)^down +kettle +ask us +instead +1 +503 Service Unavailable$`, out.String())
	require.Regexp(t, `(?m)^down +umbrella +19\.99 +stale +[\d.]+[µm]s +0 +prices: breaker: circuit open`, out.String())
	require.Regexp(t, `(?m)^down +kettle +ask us +instead +0 +prices: breaker: circuit open`, out.String())
	require.Regexp(t, `(?m)^up +kettle +19\.99 +fresh +1 *$`, out.String())
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
}
