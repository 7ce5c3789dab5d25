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

func TestEveryWayTellsTheSame(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), &out)
	require.Regexp(t, `(?m)^time=\S+ level=WARN msg="breaker changed state" name=pricing from=closed to=open cause=consecutive error="connection refused" successes=2 failures=3 slow=0$`, out.String())
	require.Regexp(t, `(?m)^breaker: open, \{Succeeded:2 Failed:3 Ignored:0 Rejected:1\}$`, out.String())
	require.Regexp(t, `(?m)^bulkhead: 1 of 2 in use, \{Succeeded:2 Failed:3 Ignored:1 Rejected:0\}$`, out.String())
	require.Regexp(t, `(?m)^\| pricing \| breaker \| prices, over HTTP \|.*\| open \| 2 \| 3 \| 0 \| 1 \|  \|$`, out.String())
	require.Regexp(t, `(?m)^stability_breaker_status\{.*stability_breaker_state="open".*\} 1$`, out.String())
	require.Regexp(t, `(?m)^stability_bulkhead_usage\{.*\} 1$`, out.String())
	require.Regexp(t, `(?m)^stability_calls_total\{.*stability_outcome="failure",stability_policy="breaker"\} 3$`, out.String())
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
}
