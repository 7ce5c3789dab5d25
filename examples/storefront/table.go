package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A row of the table. One without cells is a heading.
type row struct {
	Label string
	Cells []string // one a run
}

// Rows returns the table of the figures, in which the terminal and the report
// agree.
func (s summary) Rows() []row {
	var rows []row
	heading := func(label string) { rows = append(rows, row{Label: label}) }
	add := func(label string, cell func(figures) string) {
		r := row{Label: label}
		for _, f := range s.Figures {
			r.Cells = append(r.Cells, cell(f))
		}
		rows = append(rows, r)
	}

	heading("The whole run")
	add("pages asked for", func(f figures) string { return strconv.Itoa(f.Good.Of) })
	add("good: complete within "+short(s.Options.within), func(f figures) string { return f.Good.String() })
	add("peak of goroutines", func(f figures) string { return strconv.FormatUint(f.Goroutines, 10) })
	add("peak of memory (heap objects and stacks)", func(f figures) string { return megabytes(f.Memory) })
	add("peak of pages in the storefront", func(f figures) string { return strconv.FormatInt(f.Pages, 10) })

	add("latest request after its instant", func(f figures) string { return short(f.Lag) })

	heading("While recommendations hung")
	add("pages asked for", func(f figures) string { return strconv.Itoa(f.Hung.Of) })
	add("good", func(f figures) string { return f.Hung.String() })
	add("good, of those that do not need recommendations", func(f figures) string { return f.HungOthers.String() })
	add("good, but without recommendations", func(f figures) string { return strconv.Itoa(f.Degraded) })
	add("p50 from when the page was wanted", func(f figures) string { return short(f.P50) })
	add("p99", func(f figures) string { return short(f.P99) })
	add("max", func(f figures) string { return short(f.Max) })
	add("calls that reached recommendations", func(f figures) string { return strconv.Itoa(f.Reached) })
	add("… made after the breaker had opened", func(f figures) string {
		if !f.Opened {
			return "–"
		}
		return fmt.Sprintf("%d of %d probes", f.AfterOpen, f.Probes)
	})

	heading("When recommendations were back")
	add("until 99 of 100 pages were whole again", func(f figures) string {
		if !f.Recovered {
			return "not seen"
		}
		return fmt.Sprintf("%.1f s", f.Recovery.Seconds())
	})
	return rows
}

// Columns is how many columns the table has, the labels' included.
func (s summary) Columns() int { return 1 + len(s.Figures) }

// printTo prints the table and the verdict.
func (s summary) printTo(w io.Writer) {
	if s.Interrupted {
		fmt.Fprint(w, "\nInterrupted. What was measured until then:\n")
	}
	fmt.Fprintln(w)
	line := func(label string, cells []string) {
		var b strings.Builder
		b.WriteString(pad(label, -52))
		for _, c := range cells {
			b.WriteString(pad(c, 16))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	var names []string
	for _, f := range s.Figures {
		names = append(names, f.Name)
	}
	line("", names)
	for _, r := range s.Rows() {
		if r.Cells == nil {
			line(r.Label, nil)
		} else {
			line("  "+r.Label, r.Cells)
		}
	}
	fmt.Fprintf(w, "\n%s\n", s.Verdict())
	for _, c := range s.Checks {
		mark := "ok  "
		if !c.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(w, "  %s  %s\n", mark, c.Text)
	}
	if late := s.Late(); late != "" {
		fmt.Fprintf(w, "%s\n", late)
	}
}

// Verdict says in a sentence how the protected run ended.
func (s summary) Verdict() string {
	switch {
	case s.Interrupted:
		return "Interrupted: there is no verdict."
	case s.Held:
		return "The protected run held."
	default:
		return "The protected run did NOT hold."
	}
}

// Late says that the machine was too busy for the load, or "" where it was not.
func (s summary) Late() string {
	var lag time.Duration
	for _, f := range s.Figures {
		lag = max(lag, f.Lag)
	}
	if lag < 100*time.Millisecond {
		return ""
	}
	return fmt.Sprintf("The machine was busy with other things: a page was asked for up to %s after its instant. The figures show that too.", short(lag))
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

// short prints d in milliseconds below a second and in seconds above, in three
// digits or so.
func short(d time.Duration) string {
	digits := func(v, unit float64) string { return strconv.FormatFloat(math.Round(v*unit)/unit, 'f', -1, 64) }
	switch ms := d.Seconds() * 1000; {
	case d == 0:
		return "–"
	case ms < 10:
		return digits(ms, 10) + " ms"
	case ms < 1000:
		return digits(ms, 1) + " ms"
	default:
		return digits(d.Seconds(), 100) + " s"
	}
}

func megabytes(bytes uint64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
