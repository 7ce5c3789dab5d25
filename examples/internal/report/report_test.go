package report

import (
	"html/template"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStep(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.1: 2, 3: 5, 7: 10, 2500: 5000} {
		require.InDelta(t, want, Step(v), 0)
	}
}

// What an earlier run wrote stays until there is something better, and nothing of it
// is left then.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(path, []byte("a report that is longer"), 0o600))
	f, err := Open(path)
	require.NoError(t, err)
	earlier, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "a report that is longer", string(earlier))
	require.NoError(t, Write(f, template.Must(template.New("").Parse("{{.}}!")), "new"))
	require.NoError(t, f.Close())
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new!", string(now))

	none, err := Open("")
	require.NoError(t, err)
	require.Nil(t, none)
}
