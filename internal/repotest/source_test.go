package repotest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Everything exported says what it does for the caller: packages, functions, methods, types, values, the fields of
// structs and the methods of interfaces. The comment of a type, or of another member, may speak for members that it names.
func TestExportedIsDocumented(t *testing.T) {
	var findings []string
	for _, p := range allPackages(t) {
		if !p.inRootModule() && !p.public(t) || p.Name == "main" || len(p.GoFiles) == 0 {
			continue
		}
		packageDoc := false
		for _, name := range p.GoFiles {
			s := parse(t, path.Join(p.rel(t), name))
			packageDoc = packageDoc || s.file.Doc.Text() != ""
			findings = append(findings, undocumented(s)...)
		}
		if !packageDoc {
			findings = append(findings, p.ImportPath+": no package comment")
		}
	}
	report(t, findings, "exported without a doc comment:")
}

func undocumented(s source) []string {
	var findings []string
	need := func(n ast.Node, name string, docs ...*ast.CommentGroup) {
		for _, doc := range docs {
			if doc.Text() != "" {
				return
			}
		}
		if ast.IsExported(name[strings.LastIndex(name, ".")+1:]) {
			findings = append(findings, s.at(n)+": "+name)
		}
	}
	members := func(owner, doc string, fields *ast.FieldList) {
		for _, field := range fields.List {
			doc += field.Doc.Text()
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				if !slices.Contains(words.FindAllString(doc, -1), name.Name) {
					need(field, owner+"."+name.Name, field.Doc, field.Comment)
				}
			}
		}
	}
	for _, decl := range s.file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if owner, _, isMethod := strings.Cut(funcName(decl), "."); !isMethod || ast.IsExported(owner) {
				need(decl, funcName(decl), decl.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						need(spec, name.Name, decl.Doc, spec.Doc, spec.Comment)
					}
				case *ast.TypeSpec:
					if !spec.Name.IsExported() {
						continue
					}
					need(spec, spec.Name.Name, decl.Doc, spec.Doc)
					doc := decl.Doc.Text() + spec.Doc.Text()
					switch typ := spec.Type.(type) {
					case *ast.StructType:
						members(spec.Name.Name, doc, typ.Fields)
					case *ast.InterfaceType:
						members(spec.Name.Name, doc, typ.Methods)
					}
				}
			}
		}
	}
	return findings
}

var words = regexp.MustCompile(`\w+`)

// funcName is the name of a function, or Type.Method.
func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	typ := f.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name + "." + f.Name.Name
		default:
			return f.Name.Name
		}
	}
}

func specNames(spec ast.Spec) []string {
	var names []string
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		names = append(names, spec.Name.Name)
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// Nothing is left for later in the tree: what is not there is in an issue.
func TestNothingUnfinished(t *testing.T) {
	// Spelled in two parts, so that this file does not find itself; not after a dot, which spares the function of context.
	unfinished := regexp.MustCompile(`(^|[^.\w])(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	var findings []string
	for _, name := range files(t, func(string) bool { return true }) {
		if ext := path.Ext(name); ext != ".go" && ext != ".md" && ext != ".html" && ext != ".yml" && path.Base(name) != "Makefile" {
			continue
		}
		number := 0
		for line := range strings.Lines(read(t, name)) {
			number++
			if word := unfinished.FindString(line); word != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s", name, number, strings.TrimSpace(word)))
			}
		}
	}
	report(t, findings, "words for what is unfinished:")
}

// Code is copied, examples and tests too: a handler that answers its client with the text of an error tells a stranger
// names and addresses of what is behind it. The client is told what happened, the log is told the error.
func TestNoClientIsToldAnError(t *testing.T) {
	var findings []string
	for _, name := range files(t, func(name string) bool { return strings.HasSuffix(name, ".go") }) {
		s := parse(t, name)
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isCall(call, "http", "Error") {
				return true
			}
			for _, arg := range call.Args {
				ast.Inspect(arg, func(n ast.Node) bool {
					if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Error" {
						findings = append(findings, s.at(n))
					}
					return true
				})
			}
			return true
		})
	}
	report(t, findings, "http.Error with the text of an error:")
}
