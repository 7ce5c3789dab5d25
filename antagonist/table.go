package antagonist

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Results are the outcomes of the variants of a scenario, in their order.
type Results []*Result

// Variant returns the result of the variant of that name, and nil if there is
// none.
func (rs Results) Variant(name string) *Result {
	for _, r := range rs {
		if r.Variant == name {
			return r
		}
	}
	return nil
}

// String returns a table with a line for each variant.
func (rs Results) String() string {
	lines := append([][]string{rs.header()}, rs.rows()...)
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// String returns a table of one line.
func (r *Result) String() string { return Results{r}.String() }

func (rs Results) header() []string {
	cells := []string{"variant", "offered", "good", "late", "failed", "refused", "p50", "p99", "max", "in flight", "goroutines"}
	for _, s := range rs.servers() {
		cells = append(cells, "at "+s)
	}
	return append(cells, "recovery")
}

func (rs Results) rows() [][]string {
	var rows [][]string
	for _, r := range rs {
		name := r.Variant
		if name == "" {
			name = "-"
		}
		cells := []string{
			name, strconv.Itoa(r.Offered), formatShare(r.Counts.Goodput()),
			strconv.Itoa(r.Late), strconv.Itoa(r.Failed), strconv.Itoa(r.Refused),
			formatTime(float64(r.Percentile(P50))), formatTime(float64(r.Percentile(P99))), formatTime(float64(r.Percentile(100))),
			strconv.Itoa(r.InFlight), strconv.Itoa(r.Goroutines),
		}
		for _, name := range rs.servers() {
			cell := "-"
			if s := r.Server(name); s != nil {
				cell = fmt.Sprintf("%d (%.2f×)", s.Attempts, r.Amplification(name))
			}
			cells = append(cells, cell)
		}
		rows = append(rows, append(cells, r.recoveryText()))
	}
	return rows
}

// recoveryText says in a few words whether the variant recovered.
func (r *Result) recoveryText() string {
	switch {
	case !r.Disturbed:
		return "-"
	case r.Recovered:
		return "after " + formatTime(float64(r.RecoveredAfter))
	case r.Metastable:
		return "never: metastable"
	}
	return "not seen"
}

// servers are the names of those that any of the variants has.
func (rs Results) servers() []string {
	var names []string
	seen := make(map[string]bool)
	for _, r := range rs {
		for _, s := range r.Servers {
			if !seen[s.Name] {
				seen[s.Name] = true
				names = append(names, s.Name)
			}
		}
	}
	return names
}
