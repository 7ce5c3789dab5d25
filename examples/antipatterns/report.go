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

// contents is what the report shows.
type contents struct {
	summary
	Machine, Command string
}

func (s summary) contents() contents { return contents{s, report.Machine(), s.options.command()} }

// Chart is the plot of a result.
func (s summary) Chart(r result) chart {
	return chartOf(r, s.options.playing(nil).Length)
}

// command is what plays the same again.
func (o options) command() string {
	text := fmt.Sprintf("go run ./examples/antipatterns -seconds %g", o.seconds)
	if o.names != "" {
		text += " -run " + o.names
	}
	if o.postgres != "" {
		text += " -postgres …" // which may have a password in it
	}
	return text
}
