package repotest

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// adapters are the packages of the root module that carry policies over a protocol; they alone may import patterns.
var adapters = map[string]string{"stabilityhttp": "net/http"}

// beneath are the packages that the root package imports. They import the standard library only.
var beneath = map[string]bool{"internal/keyed": true, "internal/text": true}

// arrows are the imports from one pattern to another that are meant, each with its reason.
var arrows = map[[2]string]string{
	{"hedge", "retry"}: "a hedge pays from the budget that retries pay from, a retry.Budget",
}

// Arrows run one way: adapters → patterns → points → root.
func TestImports(t *testing.T) {
	module := rootModule()
	testSupport := map[string]bool{} // packages of the root module that only tests may import
	for _, p := range allPackages(t) {
		testSupport[p.ImportPath] = p.inRootModule() && strings.HasPrefix(p.rel(t), "internal/") && slices.ContainsFunc(p.Imports, isTestLibrary)
	}
	present, used := map[string]bool{}, map[[2]string]bool{}
	var findings []string
	for _, p := range allPackages(t) {
		if !p.inRootModule() {
			continue
		}
		from := p.rel(t)
		present[from] = true
		top, _, _ := strings.Cut(from, "/")
		for _, imported := range p.Imports {
			wrong := func(why string) { findings = append(findings, p.ImportPath+" imports "+imported+": "+why) }
			inside := imported == module || strings.HasPrefix(imported, module+"/")
			to := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			switch {
			case testSupport[imported] && !testSupport[p.ImportPath]:
				wrong("it is for tests")
			case isTestLibrary(imported) && !testSupport[p.ImportPath]:
				wrong("only tests may")
			case inside && from != "." && !beneath[from] && (to == "" || strings.HasPrefix(to, "internal/")):
			case from == "." && beneath[to]:
			case inside && from == ".", !inside && from == "." && !isStandard(imported):
				wrong("the root package imports the standard library only")
			case beneath[from] && inside:
				wrong("the root package imports it")
			case to == "points" && !beneath[from]: // it imports the root package only
			case inside && top == "internal":
				wrong("what is internal knows the root package, points and its like, no pattern")
			case inside && adapters[top] == "" && top != strings.Split(to, "/")[0]:
				used[[2]string{from, to}] = true
				if arrows[[2]string{from, to}] == "" {
					wrong("a pattern imports the root package, points and internal ones only")
				}
			case (imported == "net/http" || strings.HasPrefix(imported, "net/http/")) && adapters[top] != "net/http" && !testSupport[p.ImportPath]:
				wrong("only stabilityhttp speaks HTTP")
			}
		}
	}
	for arrow := range arrows {
		if present[arrow[0]] && !used[arrow] {
			findings = append(findings, arrow[0]+" no longer imports "+arrow[1]+": drop the exception")
		}
	}
	report(t, findings, "imports that run the wrong way:")
}

// What the root module requires, every user of one pattern downloads: the list is short and stays so.
func TestRequirements(t *testing.T) {
	wanted := []string{
		"github.com/sony/gobreaker/v2",
		"golang.org/x/time",
		"go.opentelemetry.io/otel",
		"go.opentelemetry.io/otel/metric",
		"go.opentelemetry.io/otel/trace",
		// for tests
		"github.com/stretchr/testify",
		"go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/sdk/metric",
		"go.uber.org/goleak",
		"pgregory.net/rapid",
	}
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	var findings []string
	for _, r := range mod.Require {
		if !r.Indirect && !slices.Contains(wanted, r.Path) {
			findings = append(findings, r.Path)
		}
	}
	report(t, findings, "go.mod requires what belongs in a nested module:")
	require.Empty(t, mod.Replace, "go.mod must not replace anything: users do not get the replacement")
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func isTestLibrary(path string) bool {
	for _, library := range []string{"testing", "github.com/stretchr/testify", "go.opentelemetry.io/otel/sdk", "pgregory.net/rapid", "go.uber.org/goleak"} {
		if path == library || strings.HasPrefix(path, library+"/") {
			return true
		}
	}
	return false
}
