package antagonist

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	chartWidth  = 60 // columns
	chartHeight = 6  // rows
)

// chart draws a requirement's metric over the run for a terminal, with the
// seconds that broke it and the faults below. Where the run has more seconds
// than there are columns, a column stands for several and shows the worst.
func chart(r *Result, q Requirement, broken []int) string {
	n := len(r.Seconds)
	each := (n + chartWidth - 1) / chartWidth
	columns := (n + each - 1) / each
	values := make([]float64, columns)
	for i := range values {
		values[i] = math.NaN()
	}
	top := q.limit
	for s := range n {
		v, ok := q.metric.of(r, q.class, s, s+1)
		if !ok {
			continue
		}
		old := values[s/each]
		if math.IsNaN(old) || q.atMost && v > old || !q.atMost && v < old {
			values[s/each] = v
		}
		top = max(top, v)
	}
	if q.metric.name == goodput.name {
		top = 1
	}
	if top == 0 {
		top = 1
	}

	var b strings.Builder
	high, low := q.metric.format(top), q.metric.format(0)
	margin := max(utf8.RuneCountInString(high), utf8.RuneCountInString(low), len("trouble"))
	row := func(label, border, line string) {
		pad := margin - utf8.RuneCountInString(label)
		b.WriteString(strings.TrimRight("    "+strings.Repeat(" ", pad)+label+" "+border+line, " ") + "\n")
	}
	for level := chartHeight - 1; level >= 0; level-- {
		label := ""
		switch level {
		case chartHeight - 1:
			label = high
		case 0:
			label = low
		}
		var line strings.Builder
		for _, v := range values {
			line.WriteRune(block(v/top*chartHeight - float64(level)))
		}
		row(label, "│", line.String())
	}
	row("", "└", strings.Repeat("─", columns))
	row("", " ", axis(columns, time.Duration(each)*time.Second))
	if len(broken) > 0 {
		row("broken", " ", marks(columns, func(column int) bool {
			for _, s := range broken {
				if s/each == column {
					return true
				}
			}
			return false
		}))
	}
	if from, to, disturbed := r.Scenario.disturbance(); disturbed {
		width := time.Duration(each) * time.Second
		row("trouble", " ", marks(columns, func(column int) bool {
			at := time.Duration(column) * width
			return at+width > from && at < to
		}))
	}
	for _, f := range r.Scenario.Faults {
		row("", "  ", f.String())
	}
	return b.String()
}

// block is what a bar looks like in a row that it fills up to the given height;
// below 0 not at all.
func block(height float64) rune {
	const eighths = " ▁▂▃▄▅▆▇█"
	if math.IsNaN(height) || height <= 0 {
		return ' '
	}
	i := int(math.Ceil(min(height, 1) * 8))
	return []rune(eighths)[i]
}

func marks(columns int, at func(int) bool) string {
	line := make([]byte, columns)
	for i := range line {
		line[i] = ' '
		if at(i) {
			line[i] = '^'
		}
	}
	return string(line)
}

// axis labels every tenth column with its time.
func axis(columns int, each time.Duration) string {
	line := strings.Repeat(" ", columns+10)
	for i := 0; i < columns; i += 10 {
		label := fmt.Sprint(time.Duration(i) * each)
		line = line[:i] + label + line[i+len(label):]
	}
	return line
}
