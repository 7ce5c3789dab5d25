package stability_test

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// named returns the points of a name.
func named(name string) (list stability.PointList) {
	for _, p := range stability.Points() {
		if p.Name == name {
			list = append(list, p)
		}
	}
	return list
}

func TestEveryNamedPolicyIsAPoint(t *testing.T) {
	const name = "TestEveryNamedPolicyIsAPoint"
	stability.Describe(name, stability.Description{Guards: "stock levels | SQL", Owner: "warehouse", Note: "pages show\n\"in stock?\""})
	keep := []any{
		breaker.New(breaker.Config{Name: name}),
		breaker.NewGroup(breaker.Config{Name: name}, stability.Keys{}),
		bulkhead.New(bulkhead.Config{Name: name, Limit: 20, Queue: 10}),
		bulkhead.NewGroup(bulkhead.Config{Name: name, Limit: 20}, stability.Keys{}),
		fallback.New(fallback.Config{Name: name}),
		flight.New[int](flight.Config{Name: name, StaleIfError: time.Minute}),
		hedge.New(hedge.Config{Name: name}),
		ratelimit.New(ratelimit.Config{Name: name, Rate: 10}),
		ratelimit.NewGroup(ratelimit.Config{Name: name, Rate: 10}, stability.Keys{}),
		retry.New(retry.Config{Name: name}),
		stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Name: name}),
		timeout.New(timeout.Config{Name: name, After: time.Second}),
		timeout.NewGroup(timeout.Config{Name: name, After: time.Second}, stability.Keys{}),
		breaker.New(breaker.Config{}), // has no name and is none
	}
	list := named(name)
	require.Len(t, list, len(keep)-1)
	for _, p := range list {
		require.Equal(t, "stock levels | SQL", p.Guards)
		require.Equal(t, "warehouse", p.Owner)
		require.NotNil(t, p.Figures)
	}
	runtime.KeepAlive(keep)

	var back stability.PointList
	require.NoError(t, json.Unmarshal(list.JSON(), &back))
	require.Len(t, back, len(list))
	require.Equal(t, list[0].Limits, back[0].Limits)

	lines := strings.Split(strings.TrimSpace(list.Markdown()), "\n")
	require.Len(t, lines, 2+len(list))
	for _, line := range lines {
		require.Equal(t, strings.Count(lines[1], "|"), strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), line)
	}
	require.Contains(t, list.Markdown(), `| `+name+` | bulkhead | stock levels \| SQL | warehouse | limit 20, queue 10 |`)
}

func TestPointsAreInOrder(t *testing.T) {
	const a, b = "TestPointsAreInOrder a", "TestPointsAreInOrder b"
	keep := []any{
		breaker.New(breaker.Config{Name: b}),
		timeout.New(timeout.Config{Name: a, After: time.Second}),
		bulkhead.New(bulkhead.Config{Name: a, Limit: 2}),
		bulkhead.New(bulkhead.Config{Name: a, Limit: 1}),
	}
	var got []string
	var list stability.PointList
	for _, p := range stability.Points() {
		if p.Name == a || p.Name == b {
			got = append(got, p.Name+" "+p.Policy+" "+p.Limits["limit"])
			list = append(list, p)
		}
	}
	require.Equal(t, []string{a + " bulkhead 2", a + " bulkhead 1", a + " timeout ", b + " breaker "}, got)
	require.Contains(t, list.Markdown(), "| failure_ratio 0.5, max_open_for 10s, min_calls 20, open_for 5s, probes 1, window 10s |")
	runtime.KeepAlive(keep)
}

func TestNilIsNoPoint(t *testing.T) {
	before := len(stability.Points())
	require.Panics(t, func() { stability.Register(nil, func(*int) stability.Point { return stability.Point{} }) })
	require.LessOrEqual(t, len(stability.Points()), before) // fewer, as policies of earlier tests are collected
}

func TestPointsAreReadAtTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "TestPointsAreReadAtTheMoment"
		b := breaker.New(breaker.Config{Name: name, Consecutive: 1})
		g := breaker.NewGroup(breaker.Config{Name: name, Consecutive: 1}, stability.Keys{})
		require.Equal(t, "closed", named(name)[0].State)
		for _, p := range []stability.Policy{b, g.Get("eu"), g.Get("eu")} {
			_ = p.Run(t.Context(), func(context.Context) error { return errCall })
		}
		_ = g.Get("us").Run(t.Context(), ok)
		list := named(name)
		require.Equal(t, "open", list[0].State)
		require.Equal(t, stability.Calls{Failed: 1}, list[0].Calls)
		require.Equal(t, "1 of 2 not closed", list[1].State)
		require.Equal(t, 2, list[1].Keys)
		require.Equal(t, stability.Calls{Succeeded: 1, Failed: 1, Rejected: 1}, list[1].Calls)
		b.ForceClosed()
		require.Equal(t, "forced_closed", named(name)[0].State)
		runtime.KeepAlive([]any{b, g}) // what nobody uses any more is no point
	})
}

func TestDroppedPolicyIsNoPoint(t *testing.T) {
	const name = "TestDroppedPolicyIsNoPoint"
	func() {
		b := breaker.New(breaker.Config{Name: name})
		require.Len(t, named(name), 1)
		runtime.KeepAlive(b)
	}()
	runtime.GC()
	require.Empty(t, named(name))
}

func TestPointsWhilePoliciesComeAndGo(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				b := breaker.New(breaker.Config{Name: "come and go"})
				_ = b.Run(context.Background(), ok)
				_ = stability.Points().Markdown()
				stability.Describe("come and go", stability.Description{Owner: "nobody"})
			}
		})
	}
	wg.Wait()
}

// A figure of somebody's own policy may be anything.
func TestPointsJSONOfWhatIsNoNumber(t *testing.T) {
	list := stability.PointList{{Name: "odd", Figures: map[string]float64{"ratio": math.NaN()}}}
	require.True(t, json.Valid(list.JSON()))
}

func TestMarkdownKeepsNamesInTheirCells(t *testing.T) {
	table := stability.PointList{{Name: `a\|b` + "\n" + `c\`}}.Markdown()
	require.Contains(t, table, `| a\\\|b c\\ |`)
}
