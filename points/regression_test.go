package points_test

import (
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/points"
)

type gauge struct {
	name  string
	fails bool
	fill  float64
}

func (g *gauge) read() points.Point {
	if g.fails {
		panic(errors.New("no pool"))
	}
	return points.Point{Policy: "gauge", Name: g.name, State: "filling", Figures: map[string]float64{"fill": g.fill, "size": 4}}
}

// One policy whose reader panicked took Points down for all of them, and with it the page
// on which an operator looked for the cause.
func TestOneBadReaderSpoilsNoOtherReading(t *testing.T) {
	const before, bad, after = "TestOneBadReader 1", "TestOneBadReader 2", "TestOneBadReader 3"
	gauges := []*gauge{{name: before}, {name: bad}, {name: after}}
	points.Describe(bad, points.Description{Owner: "plumbing"})
	for _, g := range gauges {
		points.Register(g, points.Source[gauge]{Read: (*gauge).read})
	}
	require.Empty(t, named(bad)[0].Problem)
	gauges[1].fails = true
	for _, name := range []string{before, after} {
		require.Len(t, named(name), 1)
		require.Empty(t, named(name)[0].Problem)
	}
	// It keeps the name that it had, so that it is seen which one it is.
	require.Equal(t, []points.Point{{Policy: "gauge", Name: bad, Owner: "plumbing", Problem: "reading panicked: no pool"}}, named(bad))
	require.Contains(t, points.Markdown(named(bad)), "| reading panicked: no pool |")
	gauges[1].fails = false
	require.Equal(t, "filling", named(bad)[0].State)
	runtime.KeepAlive(gauges)

	type never struct{ _ [64]byte }
	n := new(never) // could not be read a single time: it is called by its type
	points.Register(n, points.Source[never]{Read: func(*never) points.Point { panic(strings.Repeat("no ", 10_000)) }})
	for _, p := range points.List() {
		if p.Policy == "*points_test.never" {
			require.Less(t, len(p.Problem), 300)
			return
		}
	}
	require.Fail(t, "the point is not there")
	runtime.KeepAlive(n)
}

// One figure that was no number left an error message of all the list's JSON.
func TestFigureThatIsNoNumberIsLeftOut(t *testing.T) {
	const odd, even = "TestFigureThatIsNoNumber 1", "TestFigureThatIsNoNumber 2"
	gauges := []*gauge{{name: odd, fill: math.Inf(-1)}, {name: even, fill: 2}}
	for _, g := range gauges {
		points.Register(g, points.Source[gauge]{Read: (*gauge).read})
	}
	list := append(named(odd), named(even)...)
	runtime.KeepAlive(gauges)
	require.Equal(t, map[string]float64{"size": 4}, list[0].Figures)
	require.Equal(t, `figure fill is -Inf`, list[0].Problem)
	require.Contains(t, points.Markdown(list), "| filling; figure fill is -Inf |")

	// Whoever made the list, its JSON has what is good in it.
	list = append(list, points.Point{Name: "made here", Figures: map[string]float64{"a\nb": math.NaN(), "c": math.Inf(1), "d": 1}})
	var back []points.Point
	require.NoError(t, json.Unmarshal(asJSON(t, list), &back))
	require.Len(t, back, 3)
	require.Equal(t, map[string]float64{"fill": 2, "size": 4}, back[1].Figures)
	require.Equal(t, map[string]float64{"d": 1}, back[2].Figures)
	require.Equal(t, `figure "a\nb" is NaN, figure c is +Inf`, back[2].Problem)
}

// Names, notes and errors became markup in the register's table: links, images, code that
// ran into the next cell, marks that turned the row round.
func TestMarkdownShowsTextAsWhatItIs(t *testing.T) {
	for text, want := range map[string]string{
		"failure_ratio 0.5, 10s": "failure_ratio 0.5, 10s",
		"größe 日本 🙂":             "größe 日本 🙂",
		"a|b\\":                  `a\|b\\`,
		"two\r\n\tlines\u2028x":  "two   lines x",
		"`code`":                 "\\`code\\`",
		"[here](javascript:x)":   `\[here\](javascript:x)`,
		"![](//x/y.png)":         `!\[\](//x/y.png)`,
		"http://x.example":       `http\://x.example`,
		"www.x.example":          `www\.x.example`,
		"<b>&amp;":               `\<b\>\&amp;`,
		"_all_ *of* ~~it~~":      `\_all\_ \*of\* \~\~it\~\~`,
		"\x1b[31mred":            `\\x1b\[31mred`,
		"user\u202egnp.exe":      `user\\u202egnp.exe`,
		"\xff":                   `\\xff`,
		strings.Repeat("ä", 2e3): strings.Repeat("ä", 1024) + "…",
	} {
		require.Contains(t, points.Markdown([]points.Point{{Name: text}}), "\n| "+want+" |")
	}
}
