package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whether the tail was cut, a busy machine does not tell: that is for the program, run by
// itself, to say.
func TestTheTailIsCutForFewRequests(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		require.ErrorIs(t, err, errNotCut, &out)
	}
	rows := regexp.MustCompile(`(?m)^(single|hedged) +[\d.]+ms +[\d.]+ms +[\d.]+ms  (\d+)$`).FindAllStringSubmatch(out.String(), -1)
	require.Len(t, rows, 2, &out)
	require.Equal(t, strconv.Itoa(reads), rows[0][2])
	requests, err := strconv.Atoi(rows[1][2])
	require.NoError(t, err)
	require.Greater(t, requests, reads)
	require.LessOrEqual(t, requests, reads+reads/5+10, "more than the budget pays for")
}

func TestWhatDidNotHappenIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, io.Discard), context.Canceled)
}
