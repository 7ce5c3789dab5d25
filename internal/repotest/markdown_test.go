package repotest

import (
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Go code in a document is quoted from a file that the compiler has seen. The comment above the block names the file
// and, after a colon, the declaration; a line `// ...` in the block stands for code left out.
//
//	<!-- from: stabilityhttp/example_test.go:ExampleNewTransport -->
func TestMarkdownGoIsCompiled(t *testing.T) {
	compiled := map[string]bool{}
	for _, p := range allPackages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			compiled[path.Join(p.rel(t), name)] = true
		}
	}
	var findings []string
	for _, name := range markdownFiles(t) {
		for _, block := range fences(read(t, name)) {
			if block.lang != "go" {
				continue
			}
			at := fmt.Sprintf("%s:%d: ", name, block.line)
			found := fromComment.FindStringSubmatch(block.above)
			if found == nil {
				findings = append(findings, at+"a go block without <!-- from: FILE:DECLARATION --> above it")
				continue
			}
			file, decl := found[1], found[2]
			if !compiled[file] {
				findings = append(findings, at+file+" is not a Go file that is compiled")
				continue
			}
			text, err := declaration(parse(t, file), decl)
			if err != nil {
				findings = append(findings, at+err.Error())
				continue
			}
			if missing := missingFrom(text, block.text); missing != "" {
				findings = append(findings, fmt.Sprintf("%s%s does not have\n%s", at, found[0], missing))
			}
		}
	}
	report(t, findings, "Go code in documents that is not quoted from compiled code:")
}

// Links between the files of the repository lead somewhere, to the heading too.
func TestMarkdownLinks(t *testing.T) {
	var findings []string
	for _, name := range markdownFiles(t) {
		for number, line := range proseLines(read(t, name)) {
			for _, target := range links(line) {
				if err := resolve(t, name, target); err != nil {
					findings = append(findings, fmt.Sprintf("%s:%d: %v", name, number, err))
				}
			}
		}
	}
	report(t, findings, "links that lead nowhere:")
}

var (
	fromComment = regexp.MustCompile(`^<!-- from: ([^\s:]+)(?::(\S+))? -->$`)
	fenceLine   = regexp.MustCompile("^\\s*(```+|~~~+)\\s*(\\w*)")
	inlineLink  = regexp.MustCompile(`\]\(\s*<?([^()\s<>]+)>?(?:\s+"[^"]*")?\s*\)`)
	linkTarget  = regexp.MustCompile(`^\s*\[[^\]]+\]:\s+<?([^\s<>]+)>?`)
	codeSpan    = regexp.MustCompile("`[^`]*`")
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
)

func markdownFiles(t *testing.T) []string {
	t.Helper()
	return files(t, func(name string) bool { return strings.HasSuffix(name, ".md") })
}

// fence is a fenced code block: where it begins, its language, its text, and the last line above it that is not empty.
type fence struct {
	line        int
	lang, above string
	text        string
}

func fences(text string) []fence {
	var found []fence
	var open, above string
	for i, line := range strings.Split(text, "\n") {
		mark := fenceLine.FindStringSubmatch(line)
		switch {
		case open == "" && mark != nil:
			open = mark[1]
			found = append(found, fence{line: i + 1, lang: mark[2], above: above})
		case open != "" && strings.TrimSpace(line) == open:
			open, above = "", ""
		case open != "":
			found[len(found)-1].text += line + "\n"
		case strings.TrimSpace(line) != "":
			above = strings.TrimSpace(line)
		}
	}
	return found
}

// proseLines are the lines outside code, by their number.
func proseLines(text string) map[int]string {
	lines := map[int]string{}
	open := ""
	for i, line := range strings.Split(text, "\n") {
		mark := fenceLine.FindStringSubmatch(line)
		switch {
		case open == "" && mark != nil:
			open = mark[1]
		case open != "" && strings.TrimSpace(line) == open:
			open = ""
		case open == "":
			lines[i+1] = codeSpan.ReplaceAllStringFunc(line, func(code string) string {
				return strings.NewReplacer("(", "", ")", "", "[", "", "]", "").Replace(code)
			})
		}
	}
	return lines
}

func links(line string) []string {
	var targets []string
	for _, found := range append(inlineLink.FindAllStringSubmatch(line, -1), linkTarget.FindAllStringSubmatch(line, -1)...) {
		targets = append(targets, found[1])
	}
	return targets
}

func resolve(t *testing.T, from, target string) error {
	t.Helper()
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return nil
	}
	file, anchor, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if to == ".." || strings.HasPrefix(to, "../") {
		return fmt.Errorf("%s leaves the repository", target)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no %s", target, to)
	}
	if anchor == "" || !strings.HasSuffix(to, ".md") {
		return nil
	}
	for _, line := range proseLines(read(t, to)) {
		if heading := strings.TrimLeft(line, "#"); heading != line && slug(heading) == anchor {
			return nil
		}
	}
	return fmt.Errorf("%s: %s has no such heading", target, to)
}

// slug is the anchor that a forge gives a heading.
func slug(heading string) string {
	heading = notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
	return strings.Join(strings.Split(heading, " "), "-")
}

// declaration is the text of a file's declaration with its doc comment: a function, a type, a method as Type.Method.
// No name stands for the whole file.
func declaration(s source, name string) (string, error) {
	if name == "" {
		return s.text, nil
	}
	between := func(doc *ast.CommentGroup, n ast.Node) string {
		from := n.Pos()
		if doc != nil {
			from = doc.Pos()
		}
		return s.text[s.fset.Position(from).Offset:s.fset.Position(n.End()).Offset]
	}
	for _, decl := range s.file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if name == funcName(decl) {
				return between(decl.Doc, decl), nil
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if slices.Contains(specNames(spec), name) {
					return between(decl.Doc, decl), nil
				}
			}
		}
	}
	return "", fmt.Errorf("%s does not declare %s", s.name, name)
}

// missingFrom is the first part of the block that the code does not have, or nothing. White space does not count.
func missingFrom(code, block string) string {
	code = strings.Join(strings.Fields(code), " ")
	for part := range strings.SplitSeq(elision.ReplaceAllString(block, "\x00"), "\x00") {
		words := strings.Join(strings.Fields(part), " ")
		i := strings.Index(code, words)
		if i < 0 {
			return strings.TrimRight(part, "\n")
		}
		code = code[i+len(words):]
	}
	return ""
}

var elision = regexp.MustCompile(`(?m)^\s*// \.\.\.$`)

// The checker itself: what is quoted is found, what is not is named.
func TestMissingFrom(t *testing.T) {
	const code = "func f() {\n\ta()\n\tb(1,  2)\n\tc()\n}\n"
	require.Empty(t, missingFrom(code, "a()\nb(1, 2)\n"))
	require.Empty(t, missingFrom(code, "func f() {\n\ta()\n\t// ...\n\tc()\n}\n"))
	require.Equal(t, "b()", missingFrom(code, "b()\n"))
	require.Equal(t, "a()", strings.TrimSpace(missingFrom(code, "c()\n// ...\na()\n")), "parts stand in the order of the code")
}
