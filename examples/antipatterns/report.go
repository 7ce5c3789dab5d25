package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"runtime"
)

//go:embed report.html.tmpl
var reportText string

// reportTemplate makes the report: one HTML file that needs nothing else, no
// script and no network.
var reportTemplate = template.Must(template.New("report").Parse(reportText))

// openReport opens the file for the report, and makes it where there is none. It
// leaves what is in it until there is something better. It returns nil for "".
func openReport(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
}

// writeReport writes the report over what was in f.
func writeReport(f *os.File, s summary) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	return renderReport(f, s)
}

func renderReport(w io.Writer, s summary) error {
	return reportTemplate.Execute(w, struct {
		summary
		Machine, Command string
	}{s, machine(), s.options.command()})
}

// Chart is the plot of a result.
func (s summary) Chart(r result) chart {
	return chartOf(r, s.options.playing(nil).Length)
}

// machine is where it ran.
func machine() string {
	return fmt.Sprintf("%s, %s/%s, GOMAXPROCS %d", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
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
