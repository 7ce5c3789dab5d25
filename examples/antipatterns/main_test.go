package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFlags(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Len(t, o.scenes, 13)
	require.Equal(t, "antipatterns.html", o.report)
	require.Equal(t, "go run ./examples/antipatterns -seconds 4", o.command())

	o, err = parse([]string{"-run", "users, dogpile", "-seconds", "2.5", "-postgres", "postgres://u:secret@db/x"}, io.Discard)
	require.NoError(t, err)
	require.Len(t, o.scenes, 2)
	require.Equal(t, "users", o.scenes[0].Name, "in the order of the book")
	require.NotContains(t, o.command(), "secret")

	for _, wrong := range [][]string{
		{"-seconds", "1"}, {"-seconds", "61"}, {"-seconds", "NaN"}, {"-run", "nothing"}, {"-run", "users,,"}, {"more"}, {"-unknown"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, exitBadFlags, run(t.Context(), wrong, io.Discard, &stderr), "%q", wrong)
		require.Contains(t, stderr.String(), "antipatterns: ", "%q", wrong)
	}
	require.Equal(t, exitBadFlags, run(t.Context(), []string{"-report", t.TempDir()}, io.Discard, io.Discard), "a folder for a report")
}

func TestHelpAndList(t *testing.T) {
	var help, list bytes.Buffer
	require.Equal(t, exitShown, run(t.Context(), []string{"-h"}, &help, io.Discard))
	for _, want := range []string{"-run", "-list", "-seconds", "-postgres", "-report", "-pages", "Exit status"} {
		require.Contains(t, help.String(), want)
	}
	require.Equal(t, exitShown, run(t.Context(), []string{"-list"}, &list, io.Discard))
	for _, sc := range scenes {
		require.Contains(t, list.String(), sc.Name)
		require.Contains(t, list.String(), sc.Want.String())
	}
}

// Each scene, in short, to its end. What it measures on a busy machine says nothing: the program, run by itself, says
// whether the unguarded side fails the requirement and the guarded one meets it.
func TestScenes(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			r, err := play(t.Context(), sc, options{seconds: 2}.playing(nil))
			require.NoError(t, err)
			t.Logf("unguarded %s, guarded %s", sc.Want.Format(r.Unguarded.Figure), sc.Want.Format(r.Guarded.Figure))
			require.NotEmpty(t, r.Unguarded.Series)
			require.NotEmpty(t, r.Guarded.Series)
		})
	}
}

// The program from its flags to its report.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for _, sc := range []string{"unboundedresults"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sc), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, sc, "README.md"), []byte("above\n"+measuredFrom+"stale figures\n"+measuredTo+"\nbelow\n"), 0o644))
	}
	report := filepath.Join(dir, "report.html")
	var out, stderr bytes.Buffer
	code := run(t.Context(), []string{"-run", "unboundedresults", "-seconds", "2", "-report", report, "-pages", dir}, &out, &stderr)
	require.Equal(t, exitShown, code, "%s%s", out.String(), stderr.String())
	for _, want := range []string{"Unbounded result sets (1 of 1)", "unguarded   1 s   asked for", "rows that one page holds in memory: at most 500", "1 of 1 were brought down", report} {
		require.Contains(t, out.String(), want)
	}
	page, err := os.ReadFile(filepath.Join(dir, "unboundedresults", "README.md"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(page), "above\n") && strings.HasSuffix(string(page), "\nbelow\n"), "%s", page)
	require.Contains(t, string(page), "| rows that one page holds in memory: at most 500 | ")
	require.NotContains(t, string(page), "stale figures")
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	require.Contains(t, string(text), "Unbounded result sets")
	for _, no := range []string{"http://", "https://", "src=", "@import", "url("} {
		require.NotContains(t, string(text), no, "the report must load nothing")
	}
}

// An interrupt ends the run at once, with what was measured and nothing left behind, which TestMain sees to.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupting{at: "  1 s ", cancel: cancel}
	require.Equal(t, exitInterrupted, run(ctx, []string{"-run", "blockedthreads,users", "-seconds", "60", "-report", ""}, out, io.Discard))
	require.Contains(t, out.String(), "interrupted")
	require.NotContains(t, out.String(), "Users (2 of 2)")
}

// interrupting cancels when it has been told a text.
type interrupting struct {
	bytes.Buffer
	at     string
	cancel context.CancelFunc
}

func (w *interrupting) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.at) {
		w.cancel()
	}
	return w.Buffer.Write(p)
}

// A server that is not there ends the program with an error and not with a verdict.
func TestNoDatabase(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"-run", "dogpile", "-report", "", "-postgres", "postgres://127.0.0.1:1/none"}, io.Discard, &stderr)
	require.Equal(t, exitNotShown, code)
	require.Contains(t, stderr.String(), "antipatterns: dogpile, unguarded: ")
}

// What the verdict says of each way in which a scene can end.
func TestVerdict(t *testing.T) {
	want := scene.Requirement{Text: "pages", Unit: "%", AtLeast: 90}
	of := func(unguarded, guarded float64) result {
		return result{Scene: scene.Scene{Name: "x", Want: want}, Unguarded: scene.Measured{Figure: unguarded}, Guarded: scene.Measured{Figure: guarded}}
	}
	require.Equal(t, "brought down, and stopped", of(89.9, 90).Verdict())
	require.Equal(t, "NOT BROUGHT DOWN", of(90, 90).Verdict())
	require.Equal(t, "NOT STOPPED", of(0, 89.99).Verdict())

	s := summary{Results: []result{of(0, 100)}, options: options{scenes: make([]scene.Scene, 1)}}
	require.True(t, s.Shown())
	var table bytes.Buffer
	s.printTo(&table)
	require.Contains(t, table.String(), "x                               0 %         100 %  brought down, and stopped\n  pages: at least 90 %\n")

	s.Interrupted = true
	require.False(t, s.Shown(), "interrupted after the last")
	s.Interrupted, s.options.scenes = false, make([]scene.Scene, 2)
	require.False(t, s.Shown(), "one was not played")
	s.Results = append(s.Results, of(90, 100))
	require.False(t, s.Shown(), "one was not brought down")
	require.Equal(t, "1 of 2 were brought down unguarded and stopped guarded.", s.Verdict())
}

// Each scene has its page, with a place for its figures.
func TestPages(t *testing.T) {
	index, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, sc := range scenes {
		page, err := os.ReadFile(filepath.Join(sc.Name, "README.md"))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(page), "# "+sc.Title+"\n"), sc.Name)
		for _, heading := range []string{"## What it looks like", "## Why it kills", "## What stops it", "## Measured"} {
			require.Contains(t, string(page), heading, sc.Name)
		}
		require.Contains(t, string(page), "| "+sc.Want.String()+" |", "%s: write it anew with -pages", sc.Name)
		_, err = withMeasured(string(page), "")
		require.NoError(t, err, sc.Name)
		require.Contains(t, string(index), "| ["+sc.Title+"]("+sc.Name+"/README.md) | "+sc.Guard+" |")
	}
	_, err = withMeasured("no comments", "")
	require.Error(t, err)
	_, err = withMeasured("half a comment\n"+measuredFrom, "")
	require.Error(t, err)
}
