package antagonist_test

import (
	"os"
	"strings"
	"testing"
)

// Code in the documentation is code that compiles and runs: every block of it
// stands in the examples, word for word.
func TestDocumentsShowTheExamples(t *testing.T) {
	examples := read(t, "example_test.go")
	blocks := 0
	for _, block := range strings.Split(read(t, "../docs/ANTAGONIST.md"), "```go\n")[1:] {
		code, _, closed := strings.Cut(block, "```")
		if !closed || !strings.Contains(examples, code) {
			t.Errorf("docs/ANTAGONIST.md shows what is not in example_test.go:\n%s", code)
		}
		blocks++
	}
	if blocks < 4 {
		t.Errorf("docs/ANTAGONIST.md shows %d blocks of code", blocks)
	}

	var code strings.Builder
	for line := range strings.Lines(read(t, "doc.go")) {
		if rest, ok := strings.CutPrefix(line, "//\t"); ok {
			code.WriteString(rest)
		}
	}
	if code.Len() == 0 || !strings.Contains(examples, code.String()) {
		t.Errorf("doc.go shows what is not in example_test.go:\n%s", code.String())
	}
	if n := strings.Count(code.String(), "\n"); n >= 30 {
		t.Errorf("the first example has %d lines", n)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
