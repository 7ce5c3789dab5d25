package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requireWellFormed holds the report to be complete and well-formed, and to need
// nothing that is not in it.
func requireWellFormed(t *testing.T, report []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(report))
	d.Entity = xml.HTMLEntity
	elements := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
			for _, a := range e.Attr {
				require.NotContains(t, []string{"src", "href", "srcset", "data", "action"}, a.Name.Local, "of %s", e.Name.Local)
			}
		}
	}
	require.Equal(t, 1, elements["html"])
	require.Equal(t, 6, elements["svg"])
	require.Zero(t, elements["script"])
	require.Zero(t, elements["link"])
	require.NotRegexp(t, `https?:|url\(|@import|NaN|Inf|%!`, string(report))
}

func sampleReport(t *testing.T) []byte {
	t.Helper()
	bare := sampleResult()
	bare.name, bare.changes = "unprotected", nil
	var b bytes.Buffer
	require.NoError(t, reportTemplate.Execute(&b, summarize(sampleOptions(), []result{bare, sampleResult()}, false).contents()))
	return b.Bytes()
}

func TestReportIsWellFormed(t *testing.T) {
	report := sampleReport(t)
	requireWellFormed(t, report)
	text := string(report)
	require.Contains(t, text, "The protected run did NOT hold.")
	require.Contains(t, text, "-rate 1 -healthy 10s -hang 10s -after 10s")
	require.Equal(t, 7, strings.Count(text, `<path class="unprotected`), "a line a chart, and p50")
	require.Equal(t, 7, strings.Count(text, `<path class="protected`))
	require.Equal(t, 2, strings.Count(text, `class="half_open"`), "the probes, on the strip of the breaker")
	require.Equal(t, 6, strings.Count(text, `class="hang-label"`))
	for _, r := range summarize(sampleOptions(), []result{sampleResult()}, false).Rows() {
		require.Contains(t, text, ">"+r.Label+"</th>")
	}
}

// A run that was interrupted before anything was seen has a report too.
func TestReportOfNothing(t *testing.T) {
	for _, results := range [][]result{nil, {{name: "unprotected", ended: time.Second}}} {
		var b bytes.Buffer
		require.NoError(t, reportTemplate.Execute(&b, summarize(sampleOptions(), results, true).contents()))
		requireWellFormed(t, b.Bytes())
	}
}

// The report in a browser: nothing is wider than the window, and no text of a plot
// is too small to read.
func TestReportFitsTheWindow(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			require.Fail(t, "chromium is missing, and this is CI: apt-get install chromium")
		}
		t.Skip("chromium is missing, so the report was not looked at: apt-get install chromium")
	}
	// Frames of the widths stand for windows, which Chromium does not make so narrow.
	widths := []int{400, 1600}
	var outer strings.Builder
	outer.WriteString("<!doctype html><title>nothing</title>")
	for _, w := range widths {
		fmt.Fprintf(&outer, `<iframe width="%d" height="1000" style="border:0" srcdoc="%s"></iframe>`, w, html.EscapeString(string(sampleReport(t))))
	}
	outer.WriteString(`<script>
onload = () => document.title = Array.from(frames).map(f => {
  const all = s => [...f.document.querySelectorAll(s)];
  return [f.innerWidth, f.document.documentElement.scrollWidth,
    Math.min(...all("svg text").map(e => e.getBoundingClientRect().height)), all("figure path").length].join(" ");
}).join(" ");
</script>`)
	file := filepath.Join(t.TempDir(), "frames.html")
	require.NoError(t, os.WriteFile(file, []byte(outer.String()), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dom, err := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars", "--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+file).Output()
	require.NoError(t, err)
	title := regexp.MustCompile(`<title>([\d. ]+)</title>`).FindStringSubmatch(string(dom))
	require.NotNil(t, title, "the page did not run its script")
	seen := strings.NewReader(title[1])
	for _, width := range widths {
		var inner, scroll, lines int
		var least float64
		_, err = fmt.Fscan(seen, &inner, &scroll, &least, &lines)
		require.NoError(t, err)
		require.Equal(t, width, inner)
		require.LessOrEqual(t, scroll, inner, "pixels wide, in a window of %d", inner)
		require.Greater(t, least, 10.0, "pixels of height of a text in a plot")
		require.Equal(t, 14, lines)
	}
}
