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
//
// Contract: 46
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
				switch {
				case *update:
					verdicts[i] = c.judge(t)
				case reasons[c.key()] == "" || *all:
					verdicts[i] = c.hold(t)
				default: // it is known not to hold
					verdicts[i] = &verdict{cell: c}
				}
			})
		}
	})
	shaken := judgeHandshake(t)
	if !*update {
		require.Empty(t, shaken.faults(theRule), shaken.key())
	}
	done := []*verdict{shaken}
	for _, v := range verdicts {
		if v != nil {
			done = append(done, v)
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
	require.Contains(t, string(old), summary(done, reasons), "docs/TOGETHER.md is not what %s says: run `make together`", reasonsFile)
	for _, v := range done {
		require.Contains(t, string(old), "| "+v.name+" |", "docs/TOGETHER.md has no such cell: run `make together`")
	}
}

// runs is how often a cell is run for the page, each time with other arrivals.
const runs = 5

// judge runs a cell for the page.
func (c cell) judge(t *testing.T) *verdict {
	t.Helper()
	v := &verdict{cell: c}
	for seed := range uint64(runs) {
		ours, _ := c.run(t, ours{}, seed+1)
		plain, _ := c.run(t, plain{}, seed+1)
		v.add(ours, plain)
	}
	return v
}

// hold fails the test where a cell is clearly worse than plain net/http, with one kind
// of arrivals as with the next.
func (c cell) hold(t *testing.T) *verdict {
	t.Helper()
	for seed := uint64(1); ; seed++ {
		ours, fate := c.run(t, ours{}, seed)
		plain, other := c.run(t, plain{}, seed)
		v := &verdict{cell: c}
		v.add(ours, plain)
		by := c.clearly()
		if *all {
			by = theRule
		}
		faults := v.faults(by)
		if len(faults) == 0 {
			return v
		}
		if *all {
			t.Logf("ours: %v\nplain: %v\n%s", fate.lines(), other.lines(), c.timeline(ours, plain))
		}
		if seed == runs || *all {
			t.Errorf("%s: ours %s, plain %s: %s", v.key(), shares(v.ours), shares(v.plain), strings.Join(faults, "; "))
			return v
		}
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
