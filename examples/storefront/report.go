package main

import (
	_ "embed"
	"fmt"
	"html/template"

	"github.com/crumplezone/stability/examples/internal/report"
)

//go:embed report.html.tmpl
var reportText string

// reportTemplate makes the report: one HTML file that needs nothing else, no
// script and no network.
var reportTemplate = template.Must(template.New("report").Parse(reportText))

// A tile is a figure that is shown large, once a run.
type tile struct {
	Label  string
	Values []tileValue
}

type tileValue struct{ Run, Text string }

// contents is what the report shows.
type contents struct {
	summary
	Tiles   []tile
	Charts  []chart
	Status  string
	Machine string
}

func (s summary) contents() contents {
	return contents{summary: s, Tiles: s.tiles(), Charts: s.charts(), Status: s.status(), Machine: report.Machine()}
}

// status is the class of the verdict.
func (s summary) status() string {
	switch {
	case s.Interrupted:
		return "interrupted"
	case s.Held:
		return "held"
	default:
		return "fell"
	}
}

func (s summary) tiles() []tile {
	figure := func(label string, text func(figures) string) tile {
		t := tile{Label: label}
		for _, f := range s.Figures {
			t.Values = append(t.Values, tileValue{Run: f.Name, Text: text(f)})
		}
		return t
	}
	return []tile{
		figure("good pages while recommendations hung", func(f figures) string { return f.Hung.String() }),
		figure("p99 of the time to a page meanwhile", func(f figures) string { return short(f.P99) }),
		figure("calls sent into the hang", func(f figures) string { return fmt.Sprint(f.Reached) }),
		figure("goroutines at the peak", func(f figures) string { return fmt.Sprint(f.Goroutines) }),
	}
}

// Settings are the flags that shaped the runs, as a command line gives them.
func (s summary) Settings() string {
	o := s.Options
	return fmt.Sprintf("-rate %g -healthy %v -hang %v -after %v -within %v -patience %v -workers %d -seed %d",
		o.rate, o.healthy, o.hang, o.after, o.within, o.patience, o.workers, o.seed)
}
