package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "storefront.html", o.report)
	require.Empty(t, o.metrics)
	require.Less(t, 2*(o.length()+o.patience), 55*time.Second, "both runs end within a minute")
}

func TestFlagsAreTaken(t *testing.T) {
	o, err := parse(strings.Fields("-rate 50 -healthy 1s -hang 2s -after 3s -within 500ms -patience 2s -workers 8 -seed 7 -report r.html -metrics :9464"), io.Discard)
	require.NoError(t, err)
	require.Equal(t, options{
		rate: 50, healthy: time.Second, hang: 2 * time.Second, after: 3 * time.Second,
		within: 500 * time.Millisecond, patience: 2 * time.Second, workers: 8, seed: 7,
		report: "r.html", points: true, metrics: ":9464",
	}, o)
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-rate 0":           "-rate 0 is not between 1 and 2000",
		"-rate NaN":         "-rate NaN is not between 1 and 2000",
		"-rate +Inf":        "-rate +Inf is not between 1 and 2000",
		"-rate many":        `invalid value "many" for flag -rate`,
		"-healthy -1s":      "-healthy -1s is not between 10ms and 1h",
		"-hang 0s":          "-hang 0s is not between 10ms and 1h",
		"-after 2h":         "-after 2h0m0s is not between 10ms and 1h",
		"-within 0s":        "-within 0s is not between 10ms and 1h",
		"-patience 500ms":   "-patience 500ms is not longer than -within 1s",
		"-workers 0":        "-workers 0 is not between 1 and 10000",
		"-seed -1":          `invalid value "-1" for flag -seed`,
		"-no-such-flag":     "flag provided but not defined: -no-such-flag",
		"-rate 10 leftover": `unexpected argument "leftover"`,
	} {
		status, stdout, stderr := start(t.Context(), t, strings.Fields(args), nil)
		require.Equal(t, exitBadFlags, status, args)
		require.Empty(t, stdout, args)
		require.Contains(t, stderr, "storefront: "+want)
		require.Contains(t, stderr, "-h")
	}
}

func TestHelpExplainsEveryFlag(t *testing.T) {
	status, stdout, stderr := start(t.Context(), t, []string{"-h"}, nil)
	require.Equal(t, exitHeld, status)
	require.Empty(t, stderr)
	for _, name := range []string{"rate", "healthy", "hang", "after", "within", "patience", "workers", "seed", "report", "metrics"} {
		require.Regexp(t, `(?m)^  -`+name+` \w+\n    \t\S`, stdout, name)
	}
	require.Contains(t, stdout, "Exit status: 0 ")
}
