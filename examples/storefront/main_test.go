package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brief are flags for two runs of two seconds. What these measure on a busy
// machine says nothing, so the tests look at the form of it.
func brief(more ...string) []string {
	return append([]string{
		"-rate", "100", "-healthy", "500ms", "-hang", "800ms", "-after", "700ms",
		"-within", "200ms", "-patience", "400ms",
	}, more...)
}

// start runs the program, gives each line that it prints to see while it runs, and
// returns its exit status and all that it printed.
func start(ctx context.Context, t *testing.T, args []string, see func(line string)) (status int, stdout, stderr string) {
	t.Helper()
	r, w := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() {
		status := run(ctx, args, w, &errs)
		w.Close()
		done <- status
	}()
	var out strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		out.WriteString(lines.Text() + "\n")
		if see != nil {
			see(lines.Text())
		}
	}
	require.NoError(t, lines.Err())
	return <-done, out.String(), errs.String()
}

func TestBothRunsTheirTableAndTheirReport(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(report, bytes.Repeat([]byte("an older and longer report "), 1e5), 0o600))
	var url, metrics string
	section := ""
	status, stdout, stderr := start(t.Context(), t, brief("-report", report, "-metrics", "127.0.0.1:0"), func(line string) {
		if _, after, ok := strings.Cut(line, "while it runs: "); ok {
			url = after
		}
		if line == "unprotected" || line == protected {
			section = line
		}
		if section == protected && metrics == "" && strings.HasPrefix(line, "  ") {
			text, err := fetch(t.Context(), url)
			require.NoError(t, err)
			metrics = text
		}
	})
	require.Empty(t, stderr)

	// The exit status is that of the verdict, whichever it was here.
	switch status {
	case exitHeld:
		require.Contains(t, stdout, "\nThe protected run held.\n")
		require.NotContains(t, stdout, "FAIL")
	case exitNotHeld:
		require.Contains(t, stdout, "\nThe protected run did NOT hold.\n")
		require.Contains(t, stdout, "FAIL")
	default:
		require.Fail(t, "exit status", "%d\n%s", status, stdout)
	}
	require.Regexp(t, `(?m)^ +\d+s  recommendations (HANGS|well ) +pages asked for +\d+  good +\d+  waiting`, stdout)
	require.Regexp(t, `(?m)^ +unprotected +protected$`, stdout)
	asked := regexp.MustCompile(`(?m)^  pages asked for +(\d+) +(\d+)$`).FindAllStringSubmatch(stdout, -1)
	require.Len(t, asked, 2, "for the whole run, and while recommendations hung")
	require.Equal(t, asked[0][1], asked[0][2], "the same pages in both runs")
	require.Regexp(t, `(?m)^  calls that reached recommendations +\d+ +\d+$`, stdout)
	require.Contains(t, stdout, "The report with plots of both runs: "+report+"\n")

	text, err := os.ReadFile(report)
	require.NoError(t, err)
	requireWellFormed(t, text)
	require.NotContains(t, string(text), "older")

	require.Contains(t, metrics, `storefront_page_duration_seconds_count{`)
	require.Contains(t, metrics, `storefront_run="unprotected"`)
	require.Regexp(t, `stability_breaker_status\w*\{.*stability_name="recommendations"`, metrics)
	require.Contains(t, metrics, "go_goroutines ")
	_, err = fetch(t.Context(), url)
	require.Error(t, err, "the metrics are served after the end")
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// An interrupt in either run ends it at once, and what was measured is shown.
func TestAnInterruptLeavesPartialResults(t *testing.T) {
	answered := regexp.MustCompile(`^  .* good +[1-9]`)
	for _, during := range []string{"unprotected", protected} {
		t.Run(during, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			report := filepath.Join(t.TempDir(), "report.html")
			section := ""
			args := brief("-report", report)
			if during == "unprotected" {
				args = append(args, "-after", "1h")
			}
			status, stdout, stderr := start(ctx, t, args, func(line string) {
				if line == "unprotected" || line == protected {
					section = line
				}
				// The first run goes on until a page has been answered, the second ends by itself.
				if section == during && (section == protected || answered.MatchString(line)) {
					cancel()
				}
			})
			require.Empty(t, stderr)
			require.Equal(t, exitInterrupted, status)
			require.Contains(t, stdout, "\nInterrupted. What was measured until then:\n")
			require.Contains(t, stdout, "Interrupted: there is no verdict.\n")
			require.Regexp(t, `(?m)^  pages asked for +[1-9]`, stdout)
			text, err := os.ReadFile(report)
			require.NoError(t, err)
			requireWellFormed(t, text)
		})
	}
}

func TestAnInterruptBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report := filepath.Join(t.TempDir(), "report.html")
	status, stdout, stderr := start(ctx, t, brief("-report", report), nil)
	require.Equal(t, exitInterrupted, status)
	require.Contains(t, stdout, "Interrupted")
	require.Empty(t, stderr)
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	requireWellFormed(t, text)
}

func TestWhatCannotBeHadIsSaidBeforeTheRun(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	for name, args := range map[string][]string{
		"-report":  {"-report", filepath.Join(t.TempDir(), "missing", "report.html")},
		"-metrics": {"-report", "", "-metrics", busy.Addr().String()},
	} {
		status, stdout, stderr := start(t.Context(), t, args, nil)
		require.Equal(t, exitBadFlags, status)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "storefront: "+name+": ")
	}
}
