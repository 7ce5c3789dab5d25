package repotest

import (
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
