package points_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

func ok(context.Context) error { return nil }

var errCall = errors.New("the call's own error")

// asJSON is the JSON of a list, as an operator gets it.
func asJSON(t *testing.T, list []points.Point) []byte {
	t.Helper()
	text, err := json.Marshal(list)
	require.NoError(t, err)
	return text
}

// setting is the value of a point's setting; "" where it has none.
func setting(p points.Point, name string) string {
	s, _ := p.Setting(name)
	return s.Value
}

// named returns the points of a name.
func named(name string) (list []points.Point) {
	for _, p := range points.List() {
		if p.Name == name {
			list = append(list, p)
		}
	}
	return list
}

func TestEveryNamedPolicyIsAPoint(t *testing.T) {
	const name = "TestEveryNamedPolicyIsAPoint"
	points.Describe(name, points.Description{Guards: "stock levels | SQL", Owner: "warehouse", Note: "pages show\n\"in stock?\""})
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

	var back []points.Point
	require.NoError(t, json.Unmarshal(asJSON(t, list), &back))
	require.Len(t, back, len(list))
	require.Equal(t, list[0].Settings, back[0].Settings)

	lines := strings.Split(strings.TrimSpace(points.Markdown(list)), "\n")
	require.Len(t, lines, 2+len(list))
	for _, line := range lines {
		require.Equal(t, strings.Count(lines[1], "|"), strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), line)
	}
	require.Contains(t, points.Markdown(list), `| `+name+` | bulkhead | stock levels \| SQL | warehouse | mode on, limit 20, queue 10, max_wait 0s, observe false |`)
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
	var list []points.Point
	for _, p := range points.List() {
		if p.Name == a || p.Name == b {
			got = append(got, p.Name+" "+p.Policy+" "+setting(p, "limit"))
			list = append(list, p)
		}
	}
	require.Equal(t, []string{a + " bulkhead 2", a + " bulkhead 1", a + " timeout ", b + " breaker "}, got)
	require.Contains(t, points.Markdown(list), "| mode on, failure_ratio 0.5, min_calls 20, window 10s, consecutive 0, slow_call 0s, slow_ratio 0, open_for 5s, max_open_for 10s, "+
		"probes 1, probe_for 30s, ramp_for 0s, observe false |")
	runtime.KeepAlive(keep)
}

func TestNilIsNoPoint(t *testing.T) {
	before := len(points.List())
	require.Panics(t, func() {
		points.Register[int](nil, points.Source[int]{Read: func(*int) points.Point { return points.Point{} }})
	})
	require.LessOrEqual(t, len(points.List()), before) // fewer, as policies of earlier tests are collected
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
				_ = points.Markdown(points.List())
				points.Describe("come and go", points.Description{Owner: "nobody"})
			}
		})
	}
	wg.Wait()
}

// A figure of somebody's own policy may be anything.
func TestPointsJSONOfWhatIsNoNumber(t *testing.T) {
	list := []points.Point{{Name: "odd", Figures: map[string]float64{"ratio": math.NaN()}}}
	require.True(t, json.Valid(asJSON(t, list)))
}

func TestMarkdownKeepsNamesInTheirCells(t *testing.T) {
	table := points.Markdown([]points.Point{{Name: `a\|b` + "\n" + `c\`}})
	require.Contains(t, table, `| a\\\|b c\\ |`)
}
