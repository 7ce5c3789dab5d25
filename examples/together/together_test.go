package together

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/crumplezone/stability/antagonist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	update = flag.Bool("update", false, "write docs/TOGETHER.md, and into testdata/reasons.txt which cells hold and which do not")
	all    = flag.Bool("all", false, "report on all cells that break the rule, also those with a reason")
)

// No cell is worse with this library than with plain net/http, but for those whose
// reason is written down; and the page says so.
func TestTogether(t *testing.T) {
	reasons := readReasons(t)
	matrix := cells()
	if raceEnabled && !*update {
		matrix = sample(matrix)
	}
	verdicts := make([]*verdict, len(matrix))
	t.Run("cells", func(t *testing.T) {
		for i, c := range matrix {
			t.Run(c.key(), func(t *testing.T) {
				t.Parallel()
				ours, fate := c.run(t, ours{})
				plain, other := c.run(t, plain{})
				v := c.judge(ours, plain)
				verdicts[i] = &v
				v.hold(t, reasons)
				if *all && !v.holds() {
					t.Logf("ours: %v\nplain: %v\n%s", fate.lines(), other.lines(), c.timeline(ours, plain))
				}
			})
		}
	})
	shaken := judgeHandshake(t)
	shaken.hold(t, reasons)
	done := []verdict{shaken}
	for _, v := range verdicts {
		if v != nil {
			done = append(done, *v)
		}
	}
	if len(done) < len(cells())+1 {
		return // only some were asked for
	}
	keys := make(map[string]bool)
	for _, v := range done {
		keys[v.key()] = true
	}
	for key := range reasons {
		require.True(t, keys[key], "%s: there is no cell %q", reasonsFile, key)
	}
	if *update {
		reasons = writeReasons(t, done, reasons)
		require.NoError(t, os.WriteFile(pageFile, []byte(page(done, reasons)), 0o644))
		return
	}
	old, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	require.Equal(t, string(old), page(done, reasons), "docs/TOGETHER.md is not what the tests find: run `make together`")
}

// hold fails the test where a cell breaks the rule without a reason, or has one that it
// does not need.
func (v verdict) hold(t *testing.T, reasons map[string]string) {
	t.Helper()
	reason, listed := reasons[v.key()]
	switch {
	case v.holds():
		if listed && !*update {
			t.Errorf("%s holds, although %s says why it cannot: %s", v.key(), reasonsFile, reason)
		}
	case !listed && !*update, *all:
		t.Errorf("%s: ours %s, plain %s: %s", v.key(), shares(v.ours), shares(v.plain), strings.Join(v.faults, "; "))
	}
}

// sample is what is run under the race detector, which takes ten times as long: the
// headlines, and of each family every tenth cell.
func sample(matrix []cell) (some []cell) {
	for i, c := range matrix {
		if c.family == "headline" && c.rate == 0 || i%10 == 0 && c.rate < 1000 {
			some = append(some, c)
		}
	}
	return some
}

func (f *fates) lines() string {
	var out strings.Builder
	for _, what := range slices.Sorted(maps.Keys(f.n)) {
		fmt.Fprintf(&out, "\n  %6d %s", f.n[what], what)
	}
	return out.String()
}

// timeline writes what was answered second by second, for whoever looks for the
// reason.
func (c cell) timeline(ours, plain *antagonist.Result) string {
	var out strings.Builder
	fmt.Fprintln(&out, "second: offered, ours good/refused/failed/late, plain good")
	for i, s := range ours.Seconds {
		fmt.Fprintf(&out, "  %3d: %4d, %4d/%d/%d/%d, %4d\n", i, s.Offered, s.Good, s.Refused, s.Failed, s.Late, plain.Seconds[i].Good)
	}
	return out.String()
}
