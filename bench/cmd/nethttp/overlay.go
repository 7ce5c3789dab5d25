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
	"strings"
)

// doors is the file that net/http gets in addition: its two methods, with a door in
// each of them. guards is the test file that puts something behind the doors.
//
//go:embed doors.go.txt
var doors []byte

//go:embed guards.go.txt
var guards []byte

// door is a method of net/http that doors has in its place.
type door struct{ receiver, method, renamed string }

var doorways = []door{
	{"Transport", "RoundTrip", "plainRoundTrip"},
	{"serverHandler", "ServeHTTP", "plainServeHTTP"},
}

// An overlay is what `go build -overlay` reads: which file is read in place of which.
type overlay struct{ Replace map[string]string }

// newOverlay writes net/http with doors into dir, made from the source of the Go that
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
			changed, err := rename(src, d)
			if errors.Is(err, errNoMethod) {
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
			return nil, fmt.Errorf("net/http of %s has no method %s of %s any more", goroot, d.method, d.receiver)
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
	return os.WriteFile(instead, text, 0o600)
}

// write writes the overlay into a file.
func (o *overlay) write(path string) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

var errNoMethod = errors.New("no such method")

// rename returns the Go source with the name of a method replaced; not a line of it
// moves.
func rename(src []byte, d door) ([]byte, error) {
	if !bytes.Contains(src, []byte(") "+d.method+"(")) {
		return nil, errNoMethod
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if ok && f.Recv != nil && f.Name.Name == d.method && receiver(f) == d.receiver {
			at := fset.Position(f.Name.Pos()).Offset
			return []byte(string(src[:at]) + d.renamed + string(src[at+len(d.method):])), nil
		}
	}
	return nil, errNoMethod
}

// receiver is the name of the type that a method is of.
func receiver(f *ast.FuncDecl) string {
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, _ := typ.(*ast.Ident)
	if name == nil {
		return ""
	}
	return strings.TrimSpace(name.Name)
}
