package results

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write docs/RESULTS.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pageFile = "../../docs/RESULTS.md"

// page keeps tests that end at the same time from overwriting each other's
// sections.
var page sync.Mutex

// A section is the part of the page that belongs to one result: its heading with
// the number and the title, and what the test writes below. What stands above the
// first section is written by hand.
type section struct {
	number int
	text   strings.Builder
}

func newSection(number int, title string) *section {
	s := &section{number: number}
	fmt.Fprintf(&s.text, "## %d. %s\n", number, title)
	return s
}

// para adds a paragraph, in lines that an editor shows whole.
func (s *section) para(format string, args ...any) {
	const width = 120
	s.text.WriteByte('\n')
	length := 0
	for word := range strings.FieldsSeq(fmt.Sprintf(format, args...)) {
		n := len([]rune(word))
		switch {
		case length == 0:
		case length+1+n > width:
			s.text.WriteByte('\n')
			length = 0
		default:
			s.text.WriteByte(' ')
			length++
		}
		s.text.WriteString(word)
		length += n
	}
	s.text.WriteByte('\n')
}

// source adds where the result was published.
func (s *section) source(text string) { s.para("Source: %s", text) }

// table adds a table. The first row is the head; all columns but the first hold
// figures, and are set to the right.
func (s *section) table(rows ...[]string) {
	s.text.WriteByte('\n')
	for i, row := range rows {
		fmt.Fprintf(&s.text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&s.text, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
}

// row makes a row of a table out of a name and figures.
func row(name string, format string, figures ...any) []string {
	cells := strings.Split(fmt.Sprintf(format, figures...), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return append([]string{name}, cells...)
}

// publish compares the section with the page, or writes it there with -update.
func (s *section) publish(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	page.Lock()
	defer page.Unlock()
	old, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	text := s.into(string(old))
	if *update {
		require.NoError(t, os.WriteFile(pageFile, []byte(text), 0o644))
		return
	}
	require.Equal(t, string(old), text, "docs/RESULTS.md is not what the tests find: run `make results`")
}

// into returns the page with the section in its place.
func (s *section) into(page string) string {
	parts := strings.Split(strings.TrimSuffix(page, "\n"), "\n## ")
	own := strings.TrimPrefix(strings.TrimSuffix(s.text.String(), "\n"), "## ")
	at, found := slices.BinarySearchFunc(parts[1:], s.number, func(part string, number int) int {
		n := 0
		_, _ = fmt.Sscanf(part, "%d.", &n)
		return n - number
	})
	at++
	if found {
		parts[at] = own
	} else {
		parts = slices.Insert(parts, at, own)
	}
	for i := range parts {
		parts[i] = strings.TrimSuffix(parts[i], "\n")
	}
	return strings.Join(parts, "\n\n## ") + "\n"
}
