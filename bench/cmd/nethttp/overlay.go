package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
)

// doors is the file that net/http gets in addition: what its doorways lead to. guards is the test file that puts something behind the doors.
//
//go:embed doors.go.txt
var doors []byte

//go:embed guards.go.txt
var guards []byte

// A doorway is a place in the source of net/http where a door goes in: the name of a
// method, which doors has in its place, or a variable that a function calls a method of.
type doorway struct {
	receiver, function string // "" for a function that is no method
	variable, method   string // "" for the function's own name
	instead            string
}

var doorways = []doorway{
	{receiver: "Transport", function: "RoundTrip", instead: "plainRoundTrip"},
	{receiver: "serverHandler", function: "ServeHTTP", instead: "plainServeHTTP"},
	{function: "send", variable: "rt", method: "RoundTrip", instead: "stabilityRoundTripper(rt)"},
}

// An overlay is what `go build -overlay` reads: which file is read in place of which.
type overlay struct{ Replace map[string]string }

// newOverlay writes net/http with its doors into dir, made from the source of the Go that
// is installed.
func newOverlay(goroot, dir string) (*overlay, error) {
	source := filepath.Join(goroot, "src", "net", "http")
	pkg, err := build.Default.ImportDir(source, 0)
	if err != nil {
		return nil, err
	}
	o := &overlay{Replace: map[string]string{}}
	for _, d := range doorways {
		found := false
		for _, name := range pkg.GoFiles {
			path := filepath.Join(source, name)
			latest := path
			if instead, changed := o.Replace[path]; changed {
				latest = instead
			}
			src, err := os.ReadFile(latest)
			if err != nil {
				return nil, err
			}
			changed, err := d.open(src)
			if errors.Is(err, errNoDoorway) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			found = true
			if err := o.put(path, filepath.Join(dir, name), changed); err != nil {
				return nil, err
			}
		}
		if !found {
			return nil, fmt.Errorf("net/http of %s: %w: %+v", goroot, errNoDoorway, d)
		}
	}
	return o, o.put(filepath.Join(source, "zz_stability.go"), filepath.Join(dir, "doors.go"), doors)
}

// guard lets the external tests of a package in folder run with guards.
func (o *overlay) guard(folder, pkg, dir string) error {
	return o.put(filepath.Join(folder, "zz_stability_test.go"), filepath.Join(dir, pkg+"_guards.go"), guardsIn(pkg+"_test"))
}

// guardsIn returns guards as a file of a package.
func guardsIn(pkg string) []byte {
	return bytes.Replace(guards, []byte("package PACKAGE"), []byte("package "+pkg), 1)
}

func (o *overlay) put(path, instead string, text []byte) error {
	o.Replace[path] = instead
	return os.WriteFile(instead, text, 0o600) //nolint:gosec // A name in net/http, under a folder of our own.
}

// write writes the overlay into a file.
func (o *overlay) write(path string) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

var errNoDoorway = errors.New("no place for a door")

// open returns the Go source with a door in the doorway. Not a line of it moves.
func (d doorway) open(src []byte) ([]byte, error) {
	if !bytes.Contains(src, []byte(d.function+"(")) {
		return nil, errNoDoorway
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != d.function || receiver(f) != d.receiver {
			continue
		}
		if place := d.place(f); place != nil {
			from, to := fset.Position(place.Pos()).Offset, fset.Position(place.End()).Offset
			return []byte(string(src[:from]) + d.instead + string(src[to:])), nil
		}
	}
	return nil, errNoDoorway
}

// place is what the door takes the place of, or nil.
func (d doorway) place(f *ast.FuncDecl) *ast.Ident {
	if d.variable == "" {
		return f.Name
	}
	var found *ast.Ident
	ast.Inspect(f.Body, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == d.variable && selector.Sel.Name == d.method {
			found = x
		}
		return true
	})
	return found
}

// receiver is the name of the type that a method is of, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, _ := typ.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}
