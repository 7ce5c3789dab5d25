package together

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pageFile    = "../../docs/TOGETHER.md"
	reasonsFile = "testdata/reasons.txt"
)

// readReasons returns why cells do not hold, by their keys: a line for each in
// testdata/reasons.txt, the key, a colon and the reason.
func readReasons(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(reasonsFile)
	require.NoError(t, err)
	reasons := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, ": ")
		require.True(t, ok, "%s: a line is a key, a colon and a reason: %q", reasonsFile, line)
		require.NotContains(t, reasons, key, reasonsFile)
		reasons[key] = reason
	}
	return reasons
}

// writeReasons leaves out of the file the cells that hold, and adds the others.
func writeReasons(t *testing.T, verdicts []*verdict, old map[string]string) map[string]string {
	t.Helper()
	reasons := make(map[string]string)
	out := &strings.Builder{}
	out.WriteString("# The cells that break the rule, and why.\n")
	for _, v := range verdicts {
		if len(v.faults(theRule)) == 0 {
			continue
		}
		reasons[v.key()] = cmp.Or(old[v.key()], "open")
		fmt.Fprintf(out, "%s: %s\n", v.key(), reasons[v.key()])
	}
	require.NoError(t, os.WriteFile(reasonsFile, []byte(out.String()), 0o644))
	return reasons
}

// para writes text in lines that an editor shows whole.
func para(out *strings.Builder, format string, args ...any) {
	const width = 120
	length := 0
	for word := range strings.FieldsSeq(fmt.Sprintf(format, args...)) {
		n := len([]rune(word))
		switch {
		case length == 0:
		case length+1+n > width:
			out.WriteByte('\n')
			length = 0
		default:
			out.WriteByte(' ')
			length++
		}
		out.WriteString(word)
		length += n
	}
	out.WriteString("\n\n")
}

// page writes docs/TOGETHER.md.
func page(verdicts []*verdict, reasons map[string]string) string {
	out := &strings.Builder{}
	out.WriteString("# The parts together\n\n")
	para(out, `Each part of this library is tested by itself. This page is about what they do together, with every default on: clients
		with a stabilityhttp.Transport, servers with a stabilityhttp.Handler, one to three of them in a row, under loads and
		failures. Each row of the tables below is a *cell*, a small world in virtual time, run twice: with this library on both
		sides, and with plain net/http in its place, under the same arrivals.`)
	out.WriteString("```\nmake together\n```\n\n")
	para(out, `writes this page from five runs of each cell, with other arrivals each time; its figures, and the verdict, are those
		of the five together. The test in [examples/together](../examples/together) fails when a cell that holds has become
		clearly worse than plain net/http: by five points and as many requests as the server works on at once, with each of
		the five kinds of arrivals.`)
	out.WriteString("**The rule**, in every cell:\n\n")
	out.WriteString("1. *Goodput* is not more than one point below plain net/http's, and at least 90 % of what the servers can do where plain net/http collapses.\n")
	out.WriteString("2. Below what the servers can do, nobody is refused by his own side: by the breaker, the bulkhead, the quota or the retry of his own client.\n")
	out.WriteString("3. Ten seconds after a cause has gone (a server away, a step of overload), both are so again.\n\n")
	out.WriteString(summary(verdicts, reasons))
	out.WriteString("\n## How to read the tables\n\n")
	para(out, `*Goodput* is the share that was answered, in full and in time, of the requests that could be: those that came, or as many as
		the servers can do in that time, whichever is less. A little more than 100 %% is possible, because what waits or is under way when
		the last request comes is answered too. Where something goes wrong and is over, the three figures are the goodput before it,
		while it lasts, and from ten seconds after it on; – is where nothing could be answered. *Load ×2.5* is two and a half times
		what the servers can do. Clients are processes, each with its own connections, breaker, bulkhead and budgets.`)
	para(out, `*Ours* is stabilityhttp.NewTransport and stabilityhttp.NewHandler with their defaults: time limits, retries within a
		budget, quota, bulkhead, breaker and deadline header. The Handler has the bulkhead or the rate limit that its owner must choose. *Plain*
		is an http.Client with a Timeout of 30 s, as ours has, and an http.Handler with as many permits and a queue as long, first come first
		served, that answers 503 when it is full, or with a token bucket of the same size that answers 429 when it is empty. Requests come at random
		(Poisson), but those of a rate limit, which come evenly or in bursts. What a client that has left waited for is done to its end, as with
		most servers' code.`)
	para(out, `A short answer takes 200 ms and a server does 4 at once; a body or a stream is sent over 10 s, 20 at once; an upload comes over 4 s
		and is worked on for 1 s, 10 at once; an upgraded connection lasts 40 s, 40 at once. Twice as many may wait, for up to a second. Between tiers
		stands an httputil.ReverseProxy.`)
	for _, f := range families {
		fmt.Fprintf(out, "## %s\n\n", f.title)
		if f.text != "" {
			para(out, "%s", f.text)
		}
		if f.name == "headline" {
			headlineTable(out, verdicts)
		} else {
			familyTable(out, f, verdicts, reasons)
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// summary says how many cells hold.
func summary(verdicts []*verdict, reasons map[string]string) string {
	out := &strings.Builder{}
	table := &strings.Builder{}
	all := 0
	for _, f := range families {
		n, hold := 0, 0
		for _, v := range verdicts {
			if v.family != f.name {
				continue
			}
			n++
			if reasons[v.key()] == "" {
				hold++
			}
		}
		all += hold
		fmt.Fprintf(table, "| %s | %d | %d | %d |\n", f.title, n, hold, n-hold)
	}
	para(out, `**%d of %d cells hold.** Each of the others has its reason below its table.`, all, len(verdicts))
	out.WriteString("| family | cells | hold | do not |\n|---|---:|---:|---:|\n")
	out.WriteString(table.String())
	return out.String()
}

func familyTable(out *strings.Builder, f family, verdicts []*verdict, reasons map[string]string) {
	back := f.name == "cause"
	out.WriteString("| cell | ours | plain |")
	if back {
		out.WriteString(" as good as plain after |")
	}
	out.WriteString(" verdict |\n|---|---:|---:|")
	if back {
		out.WriteString("---:|")
	}
	out.WriteString("---|\n")
	var why []string
	for _, v := range verdicts {
		if v.family != f.name {
			continue
		}
		fmt.Fprintf(out, "| %s | %s | %s |", v.name, shares(v.ours), shares(v.plain))
		if back {
			fmt.Fprintf(out, " %d s |", v.back)
		}
		switch reason := reasons[v.key()]; {
		case reason == "":
			out.WriteString(" holds |\n")
		default:
			at := slices.Index(why, reason)
			if at < 0 {
				at = len(why)
				why = append(why, reason)
			}
			fmt.Fprintf(out, " %s (%s) |\n", strings.Join(v.faults(theRule), "; "), letter(at))
		}
	}
	out.WriteByte('\n')
	for i, reason := range why {
		para(out, "(%s) %s", letter(i), reason)
	}
}

func letter(i int) string { return string(rune('a' + i)) }

// headlineTable writes the cases with their figures of before.
func headlineTable(out *strings.Builder, verdicts []*verdict) {
	out.WriteString("| case | before | now | plain |\n|---|---:|---:|---:|\n")
	var texts []string
	for _, v := range verdicts {
		for _, h := range slices.Concat(headlines, []headline{handshake}) {
			if v.family != "headline" || v.name != h.name {
				continue
			}
			is, of := h.figure(v.cell, v.ours)
			other, _ := h.figure(v.cell, v.plain)
			fmt.Fprintf(out, "| %s | %d of %d | %d | %d |\n", h.name, h.before, of/v.runs, is/v.runs, other/v.runs)
			texts = append(texts, "*"+strings.ToUpper(h.name[:1])+h.name[1:]+".* "+h.text)
		}
	}
	out.WriteByte('\n')
	for _, text := range texts {
		para(out, "%s", text)
	}
}
