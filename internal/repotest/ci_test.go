package repotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the README tells a newcomer to type is what .ci/run runs, to the letter: .ci/run takes the commands from there.
func TestREADMECommands(t *testing.T) {
	const marker = "<!-- .ci/run runs these -->"
	require.Contains(t, read(t, ".ci/run"), marker, ".ci/run looks for its commands under this comment")
	readme := slices.DeleteFunc(markdownFiles(t), func(name string) bool { return name != "README.md" })
	if len(readme) == 0 {
		return
	}
	var commands []string
	for _, block := range fences(read(t, "README.md")) {
		if block.above == marker {
			commands = append(commands, strings.Split(strings.TrimSpace(block.text), "\n")...)
		}
	}
	require.Contains(t, commands, "go run ./examples/storefront", "README.md, in a sh block under %s", marker)
	require.Contains(t, commands, "go test work", "README.md, in a sh block under %s", marker)
}

// The whole suite runs under the race detector and shuffled, the core as a 32-bit program too.
//
// Contract: 45
func TestCIRunsTheSuite(t *testing.T) {
	var commands []string
	for line := range strings.Lines(read(t, ".ci/run")) {
		if name, command, ok := strings.Cut(strings.TrimSpace(line), "() { "); ok {
			commands = append(commands, name+": "+strings.TrimSuffix(command, "; }"))
		}
	}
	require.Contains(t, commands, `run_test: go test -race -shuffle=on -timeout "$test_timeout" work`)
	for _, command := range []string{
		`CGO_ENABLED=0 GOARCH=386 go test -shuffle=on -timeout "$test_timeout" ./...`,
		`CGO_ENABLED=0 GOARCH=arm GOARM=7 go test -exec qemu-arm -shuffle=on -timeout "$test_timeout" ./...`,
	} {
		require.Contains(t, read(t, ".ci/run"), "\t\t"+command+"\n")
	}
}

// A tool that is named with its version only is whatever a proxy hands out under that version, for the one who runs it
// first: linters were fetched so, and they run with the rights of who calls them. The tools stand in a module whose
// go.sum has the hash of each thing that they are built from.
func TestToolsHaveHashes(t *testing.T) {
	atVersion := regexp.MustCompile(`go (run|install) \S+@\S+`)
	for _, name := range append(markdownFiles(t), ".ci/run", "Makefile") {
		require.NotRegexp(t, atVersion, read(t, name), name)
	}
	mod, sum := read(t, ".ci/tools/go.mod"), read(t, ".ci/tools/go.sum")
	for _, module := range []string{"github.com/golangci/golangci-lint/v2", "golang.org/x/vuln"} {
		require.Contains(t, mod, "\t"+module+"/cmd/", "no tool of %s", module)
		version := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(module) + ` (v\S+)`).FindStringSubmatch(mod)
		require.NotEmpty(t, version, module)
		require.Contains(t, sum, module+" "+version[1]+" h1:")
	}
}

// The section vuln fails on a vulnerability, and says aloud where it could look for none.
func TestCIChecksForVulnerabilities(t *testing.T) {
	run := func(version, scan string) (string, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"go": `case "$*" in
				"list -m -f {{.Dir}}") pwd ;;
				"-C .ci/tools tool -n govulncheck") echo "$(dirname "$0")/govulncheck" ;;
				*) exit 1 ;;
			esac`,
			"govulncheck": `if [ "$*" = -version ]; then ` + version + `; else ` + scan + `; fi`,
		} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		}
		ci, err := filepath.Abs(filepath.Join(root, ".ci", "run"))
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), ci, "vuln")
		cmd.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const answers, silent = `printf "DB: x\nDB updated: 2026-11-30\n"`, `printf "DB: x\n"`

	out, err := run(answers, "exit 0")
	require.NoError(t, err, out)
	require.NotContains(t, out, "NOT CHECKED")

	out, err = run(answers, `echo "Vulnerability #1"; exit 3`)
	require.Error(t, err, out)
	require.Contains(t, out, "Vulnerability #1")

	out, err = run(silent, "exit 1")
	require.NoError(t, err, out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Contains(t, lines[len(lines)-1], "!!! NOT CHECKED: no module, for known vulnerabilities")
}
