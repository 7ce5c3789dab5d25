package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/crumplezone/stability/examples/internal/report"
)

// The comments of a page between which updatePages writes.
const (
	measuredFrom = "<!-- measured -->\n"
	measuredTo   = "<!-- /measured -->"
)

// updatePages writes what was measured into the page of each scene, README.md in
// its folder below dir. It does nothing where dir is "".
func updatePages(dir string, s summary) error {
	if dir == "" {
		return nil
	}
	for _, r := range s.Results {
		file := filepath.Join(dir, r.Scene.Name, "README.md")
		page, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text, err := withMeasured(string(page), measuredText(r, s.options))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // G703: -pages says where.
			return err
		}
	}
	return nil
}

// withMeasured is the page with the text between its comments.
func withMeasured(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, measuredFrom)
	_, after, closed := strings.Cut(rest, measuredTo)
	if !ok || !closed {
		return "", fmt.Errorf("no %s … %s", strings.TrimSpace(measuredFrom), measuredTo)
	}
	return before + measuredFrom + text + measuredTo + after, nil
}

// measuredText is a table of what was measured, and of where.
func measuredText(r result, o options) string {
	want := r.Scene.Want
	return fmt.Sprintf(`| requirement | unguarded | guarded |
|---|---|---|
| %s | %s | %s |

Written down by a run with `+"`-seconds %g -pages examples/antipatterns`"+`, %s.
`, want, want.Format(r.Unguarded.Figure), want.Format(r.Guarded.Figure), o.seconds, report.Machine())
}
