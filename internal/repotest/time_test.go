package repotest

import (
	"go/ast"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// realTime lists the test files that may sleep or poll in real time, each with its reason. Everywhere else time passes
// in a testing/synctest bubble.
var realTime = map[string]string{}

// bubbles are the functions that run what they are given in a bubble. One of them runs it outside too, which is what it
// is for.
var bubbles = map[string]bool{
	"synctest.Test": true, "antagonist.Run": true, "antagonist.Compare": true, "policytest.AcrossBubbles": true,
}

func TestTimeIsVirtual(t *testing.T) {
	var findings []string
	waits := map[string]bool{}
	folders := map[string][]source{}
	for _, s := range testSources(t) {
		folders[path.Dir(s.name)] = append(folders[path.Dir(s.name)], s)
	}
	for _, sources := range folders {
		for _, at := range realWaits(sources) {
			file, _, _ := strings.Cut(at, ":")
			waits[file] = true
			if realTime[file] == "" {
				findings = append(findings, at)
			}
		}
	}
	for file := range realTime {
		if !waits[file] {
			findings = append(findings, file+" is excepted and waits nowhere")
		}
	}
	report(t, findings, "tests that wait in real time; use synctest.Test, or give the file its reason in realTime:")
}

// testFunc is a function of a folder's tests.
type testFunc struct {
	decl  *ast.FuncDecl
	opens bool     // calls one of bubbles
	waits []string // where it sleeps or polls, but for what a bubble that it opens runs
	uses  []string // the names it mentions, but for the same
}

// realWaits finds the sleeping and polling in a folder's tests that a real clock times: what a test reaches without
// passing through one of bubbles, or through a helper of the folder that calls one. A function that a test with a bubble
// has as a value, and does not call outside, is taken to run in the bubble, unless it is the body of a subtest.
func realWaits(sources []source) []string {
	funcs := map[string][]*testFunc{}
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			if decl, ok := decl.(*ast.FuncDecl); ok && decl.Body != nil {
				f := &testFunc{decl: decl, opens: callsBubble(s, decl)}
				funcs[declName(decl)] = append(funcs[declName(decl)], f)
			}
		}
	}
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			for _, f := range funcs[declName(decl)] {
				if f.decl == decl {
					f.inspect(s, funcs)
				}
			}
		}
	}
	var found []string
	reached := map[*testFunc]bool{}
	var visit func(name string)
	visit = func(name string) {
		for _, f := range funcs[name] {
			if reached[f] {
				continue
			}
			reached[f] = true
			found = append(found, f.waits...)
			for _, used := range f.uses {
				visit(used)
			}
		}
	}
	for name, fs := range funcs {
		if isTest(fs[0].decl) || strings.HasPrefix(name, "Benchmark") || name == "TestMain" || name == "init" {
			visit(name)
		}
	}
	return found
}

// declName is the name of a function, or that of a method after a dot, as code that uses it spells it.
func declName(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	switch {
	case !ok:
		return ""
	case f.Recv != nil:
		return "." + f.Name.Name
	}
	return f.Name.Name
}

func (f *testFunc) inspect(s source, funcs map[string][]*testFunc) {
	opens := false
	subtests := map[ast.Expr]bool{}
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			opens = opens || opensBubble(s, call, funcs)
			if len(call.Args) == 2 && (isCall(call, "t", "Run") || isCall(call, "b", "Run")) {
				subtests[call.Args[1]] = true
			}
		}
		return true
	})
	var inspect func(n ast.Node) bool
	inspect = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return !opens || subtests[n]
		case *ast.CallExpr:
			if opensBubble(s, n, funcs) {
				return false
			}
			if waitsInRealTime(n) {
				f.waits = append(f.waits, s.at(n))
			}
			f.uses = append(f.uses, usedName(n.Fun))
		case *ast.SelectorExpr:
			if !opens {
				f.uses = append(f.uses, usedName(n))
			}
			ast.Inspect(n.X, inspect)
			return false
		case *ast.Ident:
			if !opens {
				f.uses = append(f.uses, n.Name)
			}
		}
		return true
	}
	ast.Inspect(f.decl.Body, inspect)
}

func usedName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return "." + e.Sel.Name
	}
	return ""
}

func callsBubble(s source, f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		found = found || ok && bubbles[qualifiedName(s, call)]
		return !found
	})
	return found
}

func opensBubble(s source, call *ast.CallExpr, funcs map[string][]*testFunc) bool {
	if bubbles[qualifiedName(s, call)] {
		return true
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && len(funcs[name.Name]) == 1 && funcs[name.Name][0].opens && !isTest(funcs[name.Name][0].decl)
}

// qualifiedName is the name of the function that is called, with its package: that of the file for a plain name.
func qualifiedName(s source, call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return strings.TrimSuffix(s.file.Name.Name, "_test") + "." + fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
	}
	return ""
}

func waitsInRealTime(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch selector.Sel.Name {
	case "Eventually", "Eventuallyf", "EventuallyWithT", "EventuallyWithTf":
		return true
	}
	return isCall(call, "time", "Sleep")
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// The checker itself: it sees a sleep in a test and in a helper of one, and none in a bubble.
func TestRealWaits(t *testing.T) {
	const text = `package p
func TestA(t *testing.T) { time.Sleep(1) }
func TestB(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1); inside() }) }
func TestC(t *testing.T) { bubble(t, func() { time.Sleep(1); inside() }); outside() }
func bubble(t *testing.T, f func()) { synctest.Test(t, func(*testing.T) { f() }) }
func inside() { time.Sleep(1) }
func TestD(t *testing.T) { wait := func() { time.Sleep(1) }; t.Run("", func(t *testing.T) { bubble(t, wait) }) }
func TestE(t *testing.T) { t.Run("", func(t *testing.T) { time.Sleep(1); bubble(t, nil) }) }
func TestF(t *testing.T) { wait := of(inside); bubble(t, wait); outside() }
func TestG(t *testing.T) { bubble(t, func() { x.call() }); call := 1 }
func (x) call() { time.Sleep(1) }
func outside() {
	require.Eventually(nil, nil, 1, 1)
}
`
	require.ElementsMatch(t, []string{"x_test.go:2", "x_test.go:8", "x_test.go:13"}, realWaits([]source{parseText(t, "x_test.go", text)}))
}
