package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/examples/internal/report"
)

// A chart is a plot of both runs of a scene, in the units of its viewBox. The
// template draws it.
type chart struct {
	Title  string
	Lines  []line
	XTicks []tick
	YTicks []tick
	Bound  *tick // the bound of the requirement
	Hovers []hover
}

// A line is one run's.
type line struct{ Class, Path string }

// A tick is a labelled position on an axis.
type tick struct{ At, Label string }

// A hover is a stretch of the time axis with what the lines say there.
type hover struct{ X, W, Text string }

// The viewBox of a chart, and its margins. The template knows them through the
// methods below.
const (
	chartWidth  = 480
	chartHeight = 250
	plotLeft    = 66
	plotRight   = chartWidth - 14
	plotTop     = 16
	plotBottom  = chartHeight - 30
)

// Width and the methods after it are the measures of the chart.
func (chart) Width() int  { return chartWidth }
func (chart) Height() int { return chartHeight }
func (chart) Left() int   { return plotLeft }
func (chart) Right() int  { return plotRight }
func (chart) Top() int    { return plotTop }
func (chart) Bottom() int { return plotBottom }
func (chart) SpanY() int  { return plotBottom - plotTop }

// chartOf draws both runs of a scene that were under load for length.
func chartOf(r result, length time.Duration) chart {
	plot, bound := r.Scene.Plot, bound(r.Scene.Want)
	runs := []struct {
		name   string
		points []scene.Point
	}{{scene.Unguarded, r.Unguarded.Series}, {scene.Guarded, r.Guarded.Series}}
	top := 0.0
	if plot.Bound {
		top = bound
	}
	for _, run := range runs {
		for _, p := range run.points {
			top = max(top, p.Value)
		}
	}
	step := report.Step(top / 4)
	if plot.Unit == "%" {
		top, step = 100, 25
	}
	top = math.Ceil(top/step) * step

	label := func(v float64) string {
		return strings.TrimSpace(strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " " + plot.Unit)
	}
	x := func(at time.Duration) float64 {
		return plotLeft + float64(min(at, length))/float64(length)*(plotRight-plotLeft)
	}
	y := func(v float64) float64 { return plotBottom - min(v/top, 1)*(plotBottom-plotTop) }

	c := chart{Title: plot.Title}
	for _, run := range runs {
		c.Lines = append(c.Lines, line{Class: run.name, Path: path(run.points, x, y)})
	}
	for v := 0.0; v <= top; v += step {
		c.YTicks = append(c.YTicks, tick{At: coord(y(v)), Label: label(v)})
	}
	seconds := time.Duration(report.Step(length.Seconds()/5)) * time.Second
	for at := time.Duration(0); at <= length; at += seconds {
		c.XTicks = append(c.XTicks, tick{At: coord(x(at)), Label: fmt.Sprintf("%.0f s", at.Seconds())})
	}
	if plot.Bound {
		c.Bound = &tick{At: coord(y(bound)), Label: r.Scene.Want.Bound()}
	}
	const stretches = 20
	for i := range stretches {
		from, to := length*time.Duration(i)/stretches, length*time.Duration(i+1)/stretches
		text := fmt.Sprintf("%.1f s to %.1f s", from.Seconds(), to.Seconds())
		for _, run := range runs {
			if v, ok := mean(run.points, from, to); ok {
				text += "\n" + run.name + ": " + label(v)
			}
		}
		c.Hovers = append(c.Hovers, hover{X: coord(x(from)), W: coord(x(to) - x(from)), Text: text})
	}
	return c
}

func bound(r scene.Requirement) float64 { return max(r.AtLeast, r.AtMost) }

// path is a line through the points.
func path(points []scene.Point, x func(time.Duration) float64, y func(float64) float64) string {
	var b strings.Builder
	command := "M"
	for _, p := range points {
		fmt.Fprintf(&b, "%s%s %s", command, coord(x(p.At)), coord(y(p.Value)))
		command = "L"
	}
	return b.String()
}

// mean is that of the points between two instants, if there are any.
func mean(points []scene.Point, from, to time.Duration) (v float64, ok bool) {
	n := 0
	for _, p := range points {
		if p.At >= from && p.At < to {
			v += p.Value
			n++
		}
	}
	return v / float64(max(n, 1)), n > 0
}

func coord(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
