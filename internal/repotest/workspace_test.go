package repotest

import (
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every module of the tree is in go.work: what is not there, no command and no check would see.
func TestWorkspaceIsWhole(t *testing.T) {
	out, err := golist("-m", "-f", "{{.Dir}}")
	require.NoError(t, err)
	var inWorkspace []string
	for dir := range strings.Lines(out) {
		inWorkspace = append(inWorkspace, pkg{Dir: filepath.Clean(strings.TrimSpace(dir))}.rel(t))
	}
	var inTree []string
	for _, name := range files(t, func(name string) bool { return name == "go.mod" }) {
		inTree = append(inTree, path.Dir(name))
	}
	require.ElementsMatch(t, inTree, inWorkspace, "modules of the tree, modules of go.work")
}
