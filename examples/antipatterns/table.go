package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// A summary is what all scenes say together.
type summary struct {
	Results     []result
	Interrupted bool
	options     options
	took        time.Duration
}

// Shown reports whether every scene was played and shows what it is for.
func (s summary) Shown() bool {
	for _, r := range s.Results {
		if !r.Shown() {
			return false
		}
	}
	return !s.Interrupted && len(s.Results) == len(s.options.scenes)
}

// Verdict says so in a sentence.
func (s summary) Verdict() string {
	n := 0
	for _, r := range s.Results {
		if r.Shown() {
			n++
		}
	}
	verdict := fmt.Sprintf("%d of %d were brought down unguarded and stopped guarded", n, len(s.options.scenes))
	if s.Interrupted {
		return verdict + ", and then it was interrupted."
	}
	return verdict + "."
}

// printTo prints the table of the requirements and what was measured.
func (s summary) printTo(w io.Writer) {
	fmt.Fprintln(w)
	const name, figure = 22, 12
	fmt.Fprintf(w, "%s %s  %s  %s\n", pad("", -name), pad("unguarded", figure), pad("guarded", figure), "")
	for _, r := range s.Results {
		fmt.Fprintf(w, "%s %s  %s  %s\n", pad(r.Scene.Name, -name),
			pad(r.Scene.Want.Format(r.Unguarded.Figure), figure),
			pad(r.Scene.Want.Format(r.Guarded.Figure), figure), r.Verdict())
		fmt.Fprintf(w, "  %s\n", r.Scene.Want)
	}
	fmt.Fprintf(w, "\n%s It took %.0f s.\n", s.Verdict(), s.took.Seconds())
}

// pad fills s with spaces to the given width: before it, or behind it when the
// width is negative.
func pad(s string, width int) string {
	fill := strings.Repeat(" ", max(0, max(width, -width)-utf8.RuneCountInString(s)))
	if width < 0 {
		return s + fill
	}
	return fill + s
}
