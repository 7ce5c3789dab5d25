// Package report is what the HTML reports of the examples share.
package report

import (
	"fmt"
	"html/template"
	"os"
	"runtime"
)

// Open opens the file for a report, and makes it where there is none. It leaves what
// is in it until there is something better. It returns nil for "".
func Open(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
}

// Write writes the report over what was in f.
func Write(f *os.File, report *template.Template, data any) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	return report.Execute(f, data)
}

// Machine is what the program runs on.
func Machine() string {
	return fmt.Sprintf("%s, %s/%s, GOMAXPROCS %d", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
}

// Step is a round distance of ticks: the least of 1, 2, 5, 10, 20, … that is not below
// v, and 1 at least.
func Step(v float64) float64 {
	for p := 1.0; ; p *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if m*p >= v {
				return m * p
			}
		}
	}
}
