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
				v := c.tried(t, reasons[c.key()])
				verdicts[i] = &v
				v.hold(t, reasons)
			})
		}
	})
	shaken := judgeHandshake(t)
	shaken.tries = 1
	if shaken.holds() {
		shaken.held = 1
	}
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
	require.Contains(t, string(old), summary(done, reasons), "docs/TOGETHER.md is not what %s says: run `make together`", reasonsFile)
	for _, v := range done {
		require.Contains(t, string(old), "| "+v.name+" |", "docs/TOGETHER.md has no such cell: run `make together`")
	}
}

// mostTries is how often a cell is run. Clients and servers draw their pauses by chance,
// so that a cell at the edge of the rule keeps it in one run and breaks it in the next.
const mostTries = 5

// tried runs a cell. To write the page, it is run five times. To hold the library to the
// page, it is run until it does once what the page says of it.
func (c cell) tried(t *testing.T, reason string) (v verdict) {
	t.Helper()
	held := 0
	for try := 1; ; try++ {
		ours, fate := c.run(t, ours{})
		plain, other := c.run(t, plain{})
		v = c.judge(ours, plain)
		if v.holds() {
			held++
		} else if *all {
			t.Logf("ours: %v\nplain: %v\n%s", fate.lines(), other.lines(), c.timeline(ours, plain))
		}
		asSaid := v.holds() == (reason == "") || strings.HasPrefix(reason, byChance)
		if try == mostTries || !*update && asSaid {
			v.tries, v.held = try, held
			return v
		}
	}
}

// byChance begins the reason of a cell that holds in some runs and not in others.
const byChance = "by chance"

// hold fails the test where a cell without a reason breaks the rule in each of its runs,
// and where one with a reason breaks it in none.
func (v verdict) hold(t *testing.T, reasons map[string]string) {
	t.Helper()
	reason, listed := reasons[v.key()]
	switch {
	case *update || strings.HasPrefix(reason, byChance):
	case listed && v.held == v.tries:
		t.Errorf("%s holds, although %s says why it cannot: %s", v.key(), reasonsFile, reason)
	case !listed && v.held == 0:
		t.Errorf("%s: ours %s, plain %s: %s", v.key(), shares(v.ours), shares(v.plain), strings.Join(v.faults, "; "))
	}
	if *all && !v.holds() {
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
