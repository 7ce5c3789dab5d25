package repotest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeFigures are the rows of the goals in BENCHMARKS.md that the README speaks of, each with its words.
var readmeFigures = []struct{ work, says string }{
	{"breaker, closed, success", "A call through a closed breaker takes %s times as long as through gobreaker's on one core, and %s times on all."},
	{"retry + breaker + limit + bulkhead + timeout", "Retry, breaker, rate limit, bulkhead and timeout around a call take %s times as long as failsafe-go's five on one core, and %s times on all."},
	{"stabilityhttp standard client, loopback", "The guarded HTTP client takes %s times as long for a request over loopback as `http.Client` with a Timeout, one at a time, and %s times on all cores. It makes no more allocations, unless the request's context has a deadline before the Transport's: net/http sets no timer then, and ours makes seven more."},
}

// The figures in the README are those of BENCHMARKS.md.
func TestREADMEFigures(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	var lines strings.Builder
	for _, f := range readmeFigures {
		serial, all := goalRow(t, string(page), f.work)
		fmt.Fprintf(&lines, "- "+f.says+"\n", serial, all)
	}
	generated(t, "README.md", replaceBetween(t, string(readme), "figures", lines.String()), "make bench-report")
}

// The README says of the parts together what their page says in its own summary.
func TestREADMETogether(t *testing.T) {
	verdict := regexp.MustCompile(`(?m)^\*\*(\d+ of \d+ cells) hold\.\*\*`).FindStringSubmatch(read(t, "docs/TOGETHER.md"))
	require.NotNil(t, verdict, "docs/TOGETHER.md has no line **N of M cells hold.**")
	line := "Clients and servers with every default on, in loads and faults, beside plain net/http in the same worlds: " + verdict[1] +
		" hold to a rule that says they must not be worse. Every cell, and the reason of each that does not hold: [docs/TOGETHER.md](docs/TOGETHER.md).\n"
	generated(t, "README.md", replaceBetween(t, read(t, "README.md"), "together", line),
		"go test -count=1 -run '^TestREADMETogether$' ./internal/repotest -update")
}

// goalRow returns what was measured of a goal, serial and on all cores.
func goalRow(t *testing.T, page, work string) (serial, all string) {
	t.Helper()
	for line := range strings.Lines(page) {
		cells := strings.Split(line, "|")
		if len(cells) > 6 && strings.TrimSpace(cells[1]) == work {
			return strings.TrimSpace(cells[4]), strings.TrimSpace(cells[6])
		}
	}
	t.Fatalf("BENCHMARKS.md has no goal %q", work)
	return "", ""
}
