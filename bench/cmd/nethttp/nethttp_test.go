package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const mark = "\x16" // before a line of the testing package, with -test.v=test2json

func TestConclude(t *testing.T) {
	for _, c := range []struct {
		name   string
		output string
		ending ending
		want   map[string]outcome
	}{
		{
			"passes", mark + "=== RUN   TestA\n" + mark + "=== RUN   TestA/h1\n" + mark + "--- PASS: TestA (0.01s)\n" + mark + "    --- PASS: TestA/h1 (0.00s)\nPASS\n",
			ending{content: true},
			map[string]outcome{"TestA": pass, "TestA/h1": pass},
		},
		{
			"fails in a subtest and skips another", mark + "--- FAIL: TestA (0.01s)\n" + mark + "    --- FAIL: TestA/h1 (0.00s)\n        a_test.go:1: no\n" + mark + "    --- SKIP: TestA/h2 (0.00s)\nFAIL\n",
			ending{},
			map[string]outcome{"TestA": fail, "TestA/h1": fail, "TestA/h2": skip},
		},
		{
			"passes, and the process is not content", mark + "--- PASS: TestA (0.01s)\nPASS\nToo many goroutines running after all test(s).\n",
			ending{},
			map[string]outcome{"TestA": leak},
		},
		{
			"does not end", mark + "=== RUN   TestA\n" + mark + "=== RUN   TestA/h1\npanic: test timed out after 20s\n",
			ending{},
			map[string]outcome{"TestA": hang, "TestA/h1": hang},
		},
		{
			"does not even end itself", mark + "=== RUN   TestA\n",
			ending{killed: true},
			map[string]outcome{"TestA": hang},
		},
		{
			"dies", mark + "=== RUN   TestA\nfatal error: stack overflow\n",
			ending{},
			map[string]outcome{"TestA": died},
		},
		{
			"prints what looks like a result", mark + "=== RUN   TestA\n--- FAIL: TestA (0.01s)\nand no end of line" + mark + "--- PASS: TestA (0.01s)\n",
			ending{content: true},
			map[string]outcome{"TestA": pass},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, conclude("TestA", []byte(c.output), c.ending))
		})
	}
}

func TestWorse(t *testing.T) {
	was := map[string]outcome{"A": pass, "A/h1": pass, "A/h2": pass, "A/h2/x": pass, "B": fail, "C": skip, "D": skip, "E": pass, "E/x": pass}
	require.Empty(t, worse(was, was))
	require.Equal(t,
		map[string]outcome{"A/h2/x": fail, "D": fail, "E": hang},
		worse(was, map[string]outcome{
			"A": fail, "A/h1": pass, "A/h2": fail, "A/h2/x": fail, // named by its innermost part
			"B": hang,            // it was not well before
			"C": pass, "D": fail, // a test that skips may run, but not fail
			"E": hang, // of E/x nothing was heard any more
		}))
}

func runs(bad, of int, o outcome) []*run {
	rs := make([]*run, of)
	for i := range rs {
		rs[i] = &run{outcomes: map[string]outcome{"TestA": pass}}
		if i < bad {
			rs[i].outcomes["TestA"] = o
		}
	}
	return rs
}

func TestSteady(t *testing.T) {
	for _, c := range []struct {
		guarded, plain int
		outcome        outcome
		steady         bool
	}{
		{guarded: 5, plain: 0, outcome: fail, steady: true},
		{guarded: 2, plain: 0, outcome: fail, steady: true},
		{guarded: 1, plain: 0, outcome: fail, steady: false},
		{guarded: 3, plain: 1, outcome: hang, steady: true},
		{guarded: 2, plain: 1, outcome: hang, steady: false},
		{guarded: 5, plain: 4, outcome: fail, steady: false},
		{guarded: 4, plain: 0, outcome: leak, steady: false},
		{guarded: 5, plain: 0, outcome: leak, steady: true},
	} {
		found := differences("net/http", map[guard][]*run{plain: runs(c.plain, 5, c.outcome), byDefault: runs(c.guarded, 5, c.outcome)})
		require.Len(t, found, 1)
		require.Equal(t, count{c.guarded, 5}, found[0].guarded)
		require.Equal(t, count{c.plain, 5}, found[0].plain)
		require.Equal(t, c.steady, found[0].steady(), "%+v", c)
	}
}

// A reason covers a test with its subtests, in its suite. One that is not needed any
// more is named, unless it may be needed or not.
func TestReasons(t *testing.T) {
	known := []reason{
		{title: "One", tests: []string{"TestA", "TestB/h1"}},
		{title: "Two", tests: []string{"some/user TestA", "TestC" + sometimes}},
	}
	of := func(suite, test string) *difference {
		return &difference{suite: suite, test: test, guard: byDefault, guarded: count{5, 5}, plain: count{0, 5}}
	}
	titles := func(d *difference) string {
		if r := explain(known, d); r != nil {
			return r.title
		}
		return ""
	}
	require.Equal(t, "One", titles(of("net/http", "TestA/h1")))
	require.Equal(t, "Two", titles(of("some/user", "TestA")))
	require.Equal(t, "Two", titles(of("net/http", "TestC")))
	require.Empty(t, titles(of("net/http", "TestAB")))
	require.Empty(t, titles(of("net/http", "TestB")), "a reason for one of its subtests")
	require.Equal(t, []string{"TestB/h1", "some/user TestA"}, stale(known, []*difference{of("net/http", "TestA/h1")}))

	v := judge(known, []*result{{suite: suite{pkg: "net/http"}, differences: []*difference{
		of("net/http", "TestA"), of("net/http", "TestNew"),
		{suite: "net/http", test: "TestShaky", guard: allOff, guarded: count{1, 5}, plain: count{0, 5}},
	}}})
	require.Len(t, v.explained, 1)
	require.Len(t, v.unexplained, 1)
	require.Equal(t, "TestNew", v.unexplained[0].test)
	require.Len(t, v.unsteady, 1)
}

// The table itself: each test once, each reason with a text.
func TestReasonsAreWritten(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range reasons {
		require.NotEmpty(t, r.title)
		require.NotEmpty(t, r.why, r.title)
		require.NotEmpty(t, r.tests, r.title)
		for _, entry := range r.tests {
			name := strings.TrimSuffix(entry, sometimes)
			require.False(t, seen[name], "%s has two reasons", name)
			seen[name] = true
		}
	}
}

func TestDoorway(t *testing.T) {
	const src = "package p\n\nfunc (o other) Do() {}\n\n// Do does.\nfunc (t *T) Do(x int) { t.Do(x - 1) }\n\nfunc use(x X) { y.Do(); x.Do() }\n"
	for _, c := range []struct {
		doorway  doorway
		from, to string
	}{
		{doorway{receiver: "T", function: "Do", instead: "plainDo"}, "(t *T) Do(", "(t *T) plainDo("},
		{doorway{function: "use", variable: "x", method: "Do", instead: "door(x)"}, "x.Do() }", "door(x).Do() }"},
	} {
		got, err := c.doorway.open([]byte(src))
		require.NoError(t, err)
		require.Equal(t, strings.Replace(src, c.from, c.to, 1), string(got))
	}
	for _, none := range []doorway{
		{receiver: "T", function: "Undo", instead: "plainUndo"},
		{function: "use", variable: "z", method: "Do", instead: "door(z)"},
		{function: "Do", instead: "plainDo"},
	} {
		_, err := none.open([]byte(src))
		require.ErrorIs(t, err, errNoDoorway)
	}
}

// The doors fit the net/http of the Go that runs this test, and what is put behind them
// guards: a program sees the fields that a default Transport adds to a request, none
// with everything off, and none without guards.
func TestGuards(t *testing.T) {
	dir := t.TempDir()
	top, err := filepath.Abs("../../..")
	require.NoError(t, err)
	root, err := (&workshop{top: top}).goroot(t.Context())
	require.NoError(t, err)
	o, err := newOverlay(root, dir)
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, o.write(list))

	program := filepath.Join(dir, "program")
	require.NoError(t, os.Mkdir(program, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(program, "guards.go"), guardsIn("main"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(program, "main.go"), []byte(`package main

import (
	"fmt"
	"net"
	"net/http"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, limited := r.Context().Deadline()
		fmt.Println("field", r.Header.Get("X-Request-Timeout-Ms") != "", "deadline", limited)
	}))
	if _, err := http.Get("http://" + l.Addr().String()); err != nil {
		panic(err)
	}
	client := http.Client{Transport: own(func(r *http.Request) (*http.Response, error) {
		fmt.Println("own", r.Header.Get("X-Request-Timeout-Ms") != "")
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})}
	if _, err := client.Get("http://nobody/"); err != nil {
		panic(err)
	}
}

type own func(*http.Request) (*http.Response, error)

func (o own) RoundTrip(r *http.Request) (*http.Response, error) { return o(r) }
`), 0o600))
	binary := filepath.Join(dir, "program.bin")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "-o", binary, filepath.Join(program, "main.go"), filepath.Join(program, "guards.go"))
	build.Dir = top
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	for g, want := range map[guard]string{
		plain:     "field false deadline false\nown false\n",
		byDefault: "field true deadline true\nown true\n",
		allOff:    "field false deadline false\nown false\n",
	} {
		t.Run("guard "+string(g), func(t *testing.T) {
			seen := t.TempDir()
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), "STABILITY_GUARD="+string(g), "STABILITY_SEEN="+seen)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, want, string(out))
			require.Equal(t, g != plain, exists(filepath.Join(seen, "client")))
			require.Equal(t, g != plain, exists(filepath.Join(seen, "server")))
		})
	}
}

// The page says of each test of the table what became of it, and is the same whether or
// not one differed that only sometimes does.
func TestPage(t *testing.T) {
	known := []reason{{title: "It is so", why: "Because.", tests: []string{"TestA", "TestB" + sometimes, "TestC"}}}
	always := &difference{suite: "net/http", test: "TestA/h1", guard: byDefault, outcome: hang, guarded: count{5, 5}, plain: count{0, 5}}
	shaky := &difference{suite: "net/http", test: "TestB", guard: byDefault, outcome: fail, guarded: count{2, 5}, plain: count{0, 5}}
	res := &result{suite: suite{pkg: "net/http"}, tests: 7, met: 5, differences: []*difference{always, shaky}}
	text := write(known, []*result{res})
	require.Contains(t, text, "| `net/http` | 7 | 5 | 1 | 0 |\n")
	require.Contains(t, text, "## It is so\n\nBecause.\n")
	require.Contains(t, text, "| TestA | fails, 5 of 5 | passes |\n")
	require.Contains(t, text, "| TestB | sometimes fails | sometimes fails |\n")
	require.Contains(t, text, "| TestC | passes | passes |\n")
	require.NotContains(t, text, "Without a reason")

	res.differences = []*difference{always}
	require.Equal(t, text, write(known, []*result{res}))

	res.differences = append(res.differences, &difference{suite: "net/http", test: "TestNew", guard: allOff, outcome: fail, guarded: count{5, 5}, plain: count{0, 5}, output: []byte(mark + "=== RUN   TestNew\nno\n")})
	require.Contains(t, write(known, []*result{res}), "net/http TestNew, off: fails 5 of 5, 0 of 5 without guards\n      no\n")
}

// A worker that fails ends the rest, and what it failed with comes back.
func TestEach(t *testing.T) {
	items := strings.Fields("a b c d e f g h")
	done := make(chan string, len(items))
	require.NoError(t, each(3, items, func(item string) error { done <- item; return nil }))
	require.Len(t, done, len(items))
	for _, workers := range []int{1, 3} {
		require.ErrorIs(t, each(workers, items, func(string) error { return os.ErrClosed }), os.ErrClosed)
	}
}
