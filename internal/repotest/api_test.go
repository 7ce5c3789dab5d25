package repotest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each public package has its exported API as a text under api/, so that a change of it shows in review as a change of
// one line.
func TestAPI(t *testing.T) {
	want := map[string]bool{}
	for p, lines := range apis(t) {
		name := apiFile(t, p)
		want[name] = true
		text := fmt.Sprintf("package %s // import %q\n\n%s\n", p.Name(), p.Path(), strings.Join(lines, "\n"))
		generated(t, name, text, "make api")
	}
	for _, name := range files(t, func(name string) bool { return strings.HasSuffix(name, ".txt") }) {
		if !strings.HasPrefix(name, "api/") || want[name] {
			continue
		}
		if *update {
			require.NoError(t, os.Remove(filepath.Join(root, name)))
			continue
		}
		t.Errorf("%s describes no package of the tree: run `make api`", name)
	}
}

// The majors of gobreaker and x/time are theirs: a type of theirs in our API would make them ours.
func TestAPIShowsNoForeignTypes(t *testing.T) {
	var findings []string
	for p, lines := range apis(t) {
		for _, line := range lines {
			for _, foreign := range []string{"github.com/sony/gobreaker", "golang.org/x/time"} {
				if strings.Contains(line, foreign) {
					findings = append(findings, p.Path()+": "+line)
				}
			}
		}
	}
	report(t, findings, "exported signatures that mention a type of gobreaker or x/time:")
}

func apiFile(t *testing.T, p *types.Package) string {
	t.Helper()
	rel := strings.TrimPrefix(strings.TrimPrefix(p.Path(), rootModule()), "/")
	if rel == "" {
		rel = p.Name()
	}
	return path.Join("api", rel+".txt")
}

// apis describes every public package, one line for each thing that it exports. The types come from the compiler's
// export data, so the text shows what a caller meets: inferred types, promoted methods, constant values.
func apis(t *testing.T) map[*types.Package][]string {
	t.Helper()
	var paths []string
	for _, p := range publicPackages(t) {
		paths = append(paths, p.ImportPath)
	}
	if len(paths) == 0 {
		return nil
	}
	out, err := golist(append([]string{"-e", "-deps", "-export", "-json=ImportPath,Export"}, paths...)...)
	require.NoError(t, err)
	exports := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	described := map[*types.Package][]string{}
	for _, name := range paths {
		if exports[name] == "" {
			t.Errorf("%s does not compile", name)
			continue
		}
		p, err := imp.Import(name)
		require.NoError(t, err)
		described[p] = describe(p)
	}
	return described
}

func describe(p *types.Package) []string {
	qualify := types.RelativeTo(p)
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, name := range p.Scope().Names() {
		obj := p.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			add("const %s %s = %s", name, types.TypeString(obj.Type(), qualify), obj.Val().ExactString())
		case *types.TypeName:
			lines = append(lines, describeType(obj, qualify)...)
		default:
			add("%s", types.ObjectString(obj, qualify))
		}
	}
	slices.Sort(lines)
	return lines
}

func describeType(obj *types.TypeName, qualify types.Qualifier) []string {
	full := func(t types.Type) string { return types.TypeString(t, qualify) }
	if obj.IsAlias() {
		return []string{types.ObjectString(obj, qualify)}
	}
	name := full(obj.Type())
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch under := obj.Type().Underlying().(type) {
	case *types.Struct:
		add("type %s struct", name)
		unexported := false
		for i := range under.NumFields() {
			switch field := under.Field(i); {
			case !field.Exported():
				unexported = true
			case field.Embedded():
				add("type %s struct, embedded %s", name, full(field.Type()))
			default:
				add("type %s struct, %s %s", name, field.Name(), full(field.Type()))
			}
		}
		if unexported {
			add("type %s struct, unexported fields", name)
		}
	case *types.Interface:
		add("type %s interface", name)
		for method := range under.Methods() { // those of embedded interfaces too
			if !method.Exported() {
				add("type %s interface, unexported methods", name)
				continue
			}
			add("type %s interface, %s%s", name, method.Name(), strings.TrimPrefix(full(method.Type()), "func"))
		}
		return slices.Compact(lines)
	default:
		add("type %s %s", name, full(under))
	}
	values := types.NewMethodSet(obj.Type())
	for selection := range types.NewMethodSet(types.NewPointer(obj.Type())).Methods() {
		method := selection.Obj()
		if !method.Exported() {
			continue
		}
		receiver := "*" + name
		if values.Lookup(method.Pkg(), method.Name()) != nil {
			receiver = name
		}
		add("method (%s) %s%s", receiver, method.Name(), strings.TrimPrefix(full(selection.Type()), "func"))
	}
	return lines
}
