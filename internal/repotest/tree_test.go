// Package repotest holds the repository to its own rules: the exported API is the one last reviewed, the documents
// quote code that compiles, every promise has its tests, imports run one way. Nothing is listed by hand that the tree
// can tell, so a new package is under the rules from its first commit.
package repotest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite what is generated: the texts of api/, the table of docs/CONTRACT.md")

// root is the top of the checkout, seen from this folder.
const root = "../.."

// pkg is what `go list` says of a package of the workspace.
type pkg struct {
	ImportPath, Dir, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Module                             struct{ Path, Dir string }
	Error                              *struct{ Err string }
}

// rel is the package's folder relative to the top of the checkout, with slashes: "." for the root package.
func (p pkg) rel(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	top, err = filepath.EvalSymlinks(top)
	require.NoError(t, err)
	dir, err := filepath.EvalSymlinks(p.Dir)
	require.NoError(t, err)
	rel, err := filepath.Rel(top, dir)
	require.NoError(t, err)
	return filepath.ToSlash(rel)
}

// inRootModule reports whether the package belongs to the module that users require, and not to a nested one.
func (p pkg) inRootModule() bool { return p.Module.Path == rootModule() }

// public reports whether the package is one that users import: no command, not internal, no demonstration, and not
// only tests.
func (p pkg) public(t *testing.T) bool {
	t.Helper()
	top, _, _ := strings.Cut(p.rel(t), "/")
	return p.Name != "main" && len(p.GoFiles) > 0 && top != "examples" && top != "bench" &&
		!slices.Contains(strings.Split(p.ImportPath, "/"), "internal")
}

// packages lists every package of every module of the workspace, in the order of their import paths.
var packages = sync.OnceValues(func() ([]pkg, error) {
	out, err := golist("-e", "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Module,Error", "work")
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
			return pkgs, nil
		case err != nil:
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		pkgs = append(pkgs, p)
	}
})

var rootModule = sync.OnceValue(func() string {
	out, err := golist("-f", "{{.Module.Path}}", ".")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(out)
})

func golist(args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

func allPackages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := packages()
	require.NoError(t, err)
	require.NotEmpty(t, pkgs, "go list found no package")
	return pkgs
}

func publicPackages(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(allPackages(t)), func(p pkg) bool { return !p.public(t) })
}

// files returns the paths, relative to the top and with slashes, of the tree's files whose name match accepts. Folders
// that the go command passes over (a leading dot or underscore, testdata) and node_modules are passed over here too.
func files(t *testing.T, match func(name string) bool) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && rel != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() && match(base) {
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// source is a parsed Go file.
type source struct {
	name string // relative to the top
	text string
	fset *token.FileSet
	file *ast.File
}

func parse(t *testing.T, name string) source {
	t.Helper()
	return parseText(t, name, read(t, name))
}

func parseText(t *testing.T, name, text string) source {
	t.Helper()
	s := source{name: name, text: text, fset: token.NewFileSet()}
	file, err := parser.ParseFile(s.fset, name, s.text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	s.file = file
	return s
}

// at says where a node stands, as file:line.
func (s source) at(n ast.Node) string {
	pos := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

func testSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	for _, name := range files(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }) {
		sources = append(sources, parse(t, name))
	}
	return sources
}

// report fails the test with one line for each finding, sorted, under a sentence that says what to do.
func report(t *testing.T, findings []string, format string, args ...any) {
	t.Helper()
	if len(findings) == 0 {
		return
	}
	slices.Sort(findings)
	t.Errorf("%s\n\t%s", fmt.Sprintf(format, args...), strings.Join(slices.Compact(findings), "\n\t"))
}

// differences lists the lines that only one of the two texts has: "-" for those of want, "+" for those of got.
func differences(want, got string) string {
	lines := func(text string) map[string]bool {
		set := map[string]bool{}
		for line := range strings.Lines(text) {
			set[strings.TrimRight(line, "\n")] = true
		}
		return set
	}
	w, g := lines(want), lines(got)
	var diff []string
	for _, line := range slices.Sorted(maps.Keys(w)) {
		if !g[line] {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(g)) {
		if !w[line] {
			diff = append(diff, "+ "+line)
		}
	}
	return strings.Join(diff, "\n")
}

// generated compares a generated text with the committed one, or writes it with -update.
func generated(t *testing.T, name, text, command string) {
	t.Helper()
	file := filepath.Join(root, filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return
	}
	committed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is missing: run `%s` and review it", name, command)
		return
	}
	require.NoError(t, err)
	if string(committed) != text {
		t.Errorf("%s is not what the tree says now; if that is meant, run `%s`:\n%s", name, command, differences(string(committed), text))
	}
}

// link is the relative path from the folder of one file of the tree to another file, for Markdown.
func link(t *testing.T, from, to string) string {
	t.Helper()
	rel, err := filepath.Rel(filepath.FromSlash(path.Dir(from)), filepath.FromSlash(to))
	require.NoError(t, err)
	return filepath.ToSlash(rel)
}
