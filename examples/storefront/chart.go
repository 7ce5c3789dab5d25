package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/examples/internal/report"
)

// A chart is a plot over the time of the runs, in the units of its viewBox. The
// template draws it.
type chart struct {
	Title, Note string
	Lines       []line
	XTicks      []tick
	YTicks      []tick
	Hang        *span // while recommendations hung
	HangLabel   string
	Limit       *tick  // a horizontal line that means something
	Strip       []span // states of the breaker, above the plot
	Hovers      []span // with what the lines say there
}

// A line is one run's, or one of its quantiles'.
type line struct {
	Class string // the run's name; "… thin" for the lesser of two lines
	Path  string
}

// A tick is a labelled position on an axis.
type tick struct {
	At    string
	Label string
}

// A span is a stretch of the time axis.
type span struct {
	X, W  string
	Class string
	Title string
}

// The viewBox of a chart, and its margins. The template knows them through the
// methods below.
const (
	chartWidth  = 480
	chartHeight = 282
	plotLeft    = 58
	plotRight   = chartWidth - 10
	plotTop     = 34
	plotBottom  = chartHeight - 28
)

// Width and the methods after it are the measures of the chart.
func (chart) Width() int   { return chartWidth }
func (chart) Height() int  { return chartHeight }
func (chart) Left() int    { return plotLeft }
func (chart) Right() int   { return plotRight }
func (chart) Top() int     { return plotTop }
func (chart) Bottom() int  { return plotBottom }
func (chart) SpanX() int   { return plotRight - plotLeft }
func (chart) SpanY() int   { return plotBottom - plotTop }
func (chart) MiddleX() int { return (plotLeft + plotRight) / 2 }

// A series is the values of a line, one for each bin of the time; NaN where there
// is none.
type series struct {
	class  string
	name   string // in the hover text
	values []float64
}

// A scale maps values to heights, and knows how to print them.
type scale struct {
	max    float64
	log    float64 // the least value of a logarithmic scale; 0: linear from 0
	ticks  []float64
	format func(float64) string
}

func (s scale) y(v float64) float64 {
	var share float64
	if s.log > 0 {
		share = math.Log(max(v, s.log)/s.log) / math.Log(s.max/s.log)
	} else {
		share = v / s.max
	}
	return plotBottom - min(share, 1)*(plotBottom-plotTop)
}

// linear is a scale from 0 to at least top, with round ticks.
func linear(top float64, format func(float64) string) scale {
	step := report.Step(top / 4)
	s := scale{format: format}
	for v := 0.0; ; v += step {
		s.ticks = append(s.ticks, v)
		if v >= top && v > 0 {
			s.max = v
			return s
		}
	}
}

// A timeline cuts the runs into bins of equal width.
type timeline struct {
	length, bin time.Duration
}

// newTimeline makes about forty bins.
func newTimeline(length time.Duration) timeline {
	const grain = 50 * time.Millisecond
	return timeline{length: length, bin: max((length/40 + grain - 1).Truncate(grain), grain)}
}

func (t timeline) bins() int { return int((t.length + t.bin - 1) / t.bin) }

// index is the bin of an instant, or -1 where it is in none.
func (t timeline) index(at time.Duration) int {
	if at < 0 || at >= t.length {
		return -1
	}
	return int(at / t.bin)
}

func (t timeline) x(at time.Duration) float64 {
	at = min(max(at, 0), t.length)
	return plotLeft + float64(at)/float64(t.length)*(plotRight-plotLeft)
}

func (t timeline) span(from, to time.Duration, class, title string) span {
	return span{X: coord(t.x(from)), W: coord(t.x(to) - t.x(from)), Class: class, Title: title}
}

// fill makes a series of one value a bin.
func (t timeline) fill(value func(bin int) float64) []float64 {
	values := make([]float64, t.bins())
	for i := range values {
		values[i] = value(i)
	}
	return values
}

// draw puts the series on the scale.
func (t timeline) draw(title, note string, sc scale, all []series) chart {
	c := chart{Title: title, Note: note}
	for _, s := range all {
		c.Lines = append(c.Lines, line{Class: s.class, Path: t.path(sc, s.values)})
	}
	for _, v := range sc.ticks {
		c.YTicks = append(c.YTicks, tick{At: coord(sc.y(v)), Label: sc.format(v)})
	}
	step := time.Duration(report.Step(t.length.Seconds()/6)) * time.Second
	for at := time.Duration(0); at <= t.length; at += step {
		c.XTicks = append(c.XTicks, tick{At: coord(t.x(at)), Label: fmt.Sprintf("%.0f s", at.Seconds())})
	}
	for i := range t.bins() {
		from := time.Duration(i) * t.bin
		var b strings.Builder
		fmt.Fprintf(&b, "%.2f s to %.2f s", from.Seconds(), min(from+t.bin, t.length).Seconds())
		for _, s := range all {
			if !math.IsNaN(s.values[i]) {
				fmt.Fprintf(&b, "\n%s: %s", s.name, sc.format(s.values[i]))
			}
		}
		c.Hovers = append(c.Hovers, t.span(from, from+t.bin, "", b.String()))
	}
	return c
}

// path is a line through the middles of the bins, broken where a value is
// missing.
func (t timeline) path(sc scale, values []float64) string {
	var b strings.Builder
	move := "M"
	for i, v := range values {
		if math.IsNaN(v) {
			move = "M"
			continue
		}
		x := t.x(time.Duration(i)*t.bin + t.bin/2)
		fmt.Fprintf(&b, "%s%s %s", move, coord(x), coord(sc.y(v)))
		move = "L"
	}
	return b.String()
}

func coord(v float64) string { return fmt.Sprintf("%.1f", v) }

// charts returns the plots of the report.
func (s summary) charts() []chart {
	t := newTimeline(s.Options.length())
	within := s.Options.within

	goodShare := func(counts func(answer) bool) []series {
		return s.each(func(r result) []float64 {
			bins := make([]share, t.bins())
			for _, a := range r.answers {
				if i := t.index(a.at); i >= 0 && counts(a) {
					bins[i].add(a.good(within))
				}
			}
			return t.fill(func(i int) float64 { return 100 * float64(bins[i].N) / float64(bins[i].Of) })
		})
	}
	percent := scale{max: 100, ticks: []float64{0, 25, 50, 75, 100}, format: func(v float64) string { return fmt.Sprintf("%.0f %%", math.Floor(v)) }}

	quantile := func(p float64) []series {
		return s.each(func(r result) []float64 {
			bins := make([][]time.Duration, t.bins())
			for _, a := range r.answers {
				if i := t.index(a.at); i >= 0 {
					bins[i] = append(bins[i], a.took)
				}
			}
			return t.fill(func(i int) float64 {
				if len(bins[i]) == 0 {
					return math.NaN()
				}
				slices.Sort(bins[i])
				return percentile(bins[i], p).Seconds()
			})
		})
	}
	latency := scale{
		log: 0.001, max: 10, ticks: []float64{0.001, 0.01, 0.1, 1, 10},
		format: func(v float64) string { return short(time.Duration(v * float64(time.Second))) },
	}
	p50, p99 := quantile(50), quantile(99)
	for i := range p50 {
		p50[i].class += " thin"
		p50[i].name += ", p50"
		p99[i].name += ", p99"
	}

	calls := s.each(func(r result) []float64 {
		counts := make([]float64, t.bins())
		for _, c := range r.calls {
			if i := t.index(c.arrived); i >= 0 {
				counts[i]++
			}
		}
		return t.fill(func(i int) float64 {
			if time.Duration(i)*t.bin >= r.ended {
				return math.NaN() // The run was interrupted before.
			}
			return counts[i]
		})
	})
	peak := func(of func(sample) float64) []series {
		return s.each(func(r result) []float64 {
			values := t.fill(func(int) float64 { return math.NaN() })
			for _, sm := range r.samples {
				if i := t.index(sm.at); i >= 0 && !(values[i] >= of(sm)) {
					values[i] = of(sm)
				}
			}
			return values
		})
	}
	goroutines := peak(func(sm sample) float64 { return float64(sm.goroutines) })
	memory := peak(func(sm sample) float64 { return float64(sm.memory) / 1e6 })
	count := func(v float64) string { return fmt.Sprintf("%.0f", v) }

	all := []chart{
		t.draw("Good pages", fmt.Sprintf("Share of all pages that came whole within %s, by when they were wanted.", short(within)),
			percent, goodShare(func(answer) bool { return true })),
		t.draw("Good pages that do not need recommendations", "Half of the pages. They call inventory and pricing, which are well all the time.",
			percent, goodShare(func(a answer) bool { return !a.page.recommends })),
		t.draw("Time to a page", fmt.Sprintf("From when the page was wanted: p99, and p50 as the thin line. Shoppers give up after %s.", short(s.Options.patience)),
			latency, append(p99, p50...)),
		t.draw("Calls that reach recommendations", fmt.Sprintf("In every %s. The strip above the plot is the breaker of the protected run.", short(t.bin)),
			linear(highest(calls), count), calls),
		t.draw("Goroutines", "Of the whole process: shoppers, storefront and upstreams.", linear(highest(goroutines), count), goroutines),
		t.draw("Memory", "Heap objects and stacks of the whole process.",
			linear(highest(memory), func(v float64) string { return fmt.Sprintf("%.0f MB", v) }), memory),
	}
	all[2].Limit = &tick{At: coord(latency.y(within.Seconds())), Label: "good: within " + short(within)}
	all[3].Strip = s.breakerStrip(t)
	for i := range all {
		all[i].Hang, all[i].HangLabel = s.hangSpan(t)
	}
	return all
}

// each makes the series of every run.
func (s summary) each(values func(result) []float64) []series {
	var all []series
	for _, r := range s.Results {
		all = append(all, series{class: r.name, name: r.name, values: values(r)})
	}
	return all
}

// highest is the greatest value of the series.
func highest(all []series) float64 {
	top := 0.0
	for _, s := range all {
		for _, v := range s.values {
			if v > top { // false for NaN
				top = v
			}
		}
	}
	return top
}

// hangSpan is where recommendations hung, with a label that fits, or nil where no
// run came that far.
func (s summary) hangSpan(t timeline) (*span, string) {
	for _, r := range s.Results {
		from, to := r.hang()
		if from == to {
			continue
		}
		label := "recommendations hang"
		if t.x(to)-t.x(from) < 150 {
			label = "hang"
		}
		sp := t.span(from, to, "", "")
		return &sp, label
	}
	return nil, ""
}

// breakerStrip is the states of the protected run's breaker.
func (s summary) breakerStrip(t timeline) []span {
	var strip []span
	for _, r := range s.Results {
		if r.name != protected {
			continue
		}
		from, state := time.Duration(0), breaker.Closed
		until := func(to time.Duration) {
			title := fmt.Sprintf("breaker %s from %.2f s to %.2f s", state, from.Seconds(), to.Seconds())
			strip = append(strip, t.span(from, to, state.String(), title))
		}
		for _, c := range r.changes {
			until(c.at)
			from, state = c.at, c.to
		}
		until(r.ended)
	}
	return strip
}
