package antagonist

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

var reportDir = flag.String("antagonist.report", "",
	"directory for an HTML `report` of each antagonistic test; empty: in $ANTAGONIST_REPORT, in a folder for each package, or none")

//go:embed report.html
var reportSource string

var reportTemplate = template.Must(template.New("report").Parse(reportSource))

// report writes the results to a file of the directory that the flag or the
// environment names, if one does.
func report(test string, rs Results) error {
	dir := reportFolder()
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := createReport(dir, test)
	if err != nil {
		return err
	}
	if err := rs.WriteReport(f, test); err != nil {
		_ = f.Close() // the first error says more
		return err
	}
	return f.Close()
}

var reportsWritten = make(chan map[string]int, 1) // by test, in this process

func init() { reportsWritten <- make(map[string]int) }

// reportFolder returns the directory for reports, or "". The environment is that of
// all packages of a go test, which have tests of the same names. It is asked for here:
// go test does not see what is read before the tests run, and would take an earlier
// run, which left no report, for this one.
func reportFolder() string {
	all := os.Getenv("ANTAGONIST_REPORT")
	if *reportDir != "" || all == "" {
		return *reportDir
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		all = filepath.Join(all, filepath.FromSlash(strings.TrimSuffix(info.Path, ".test")))
	}
	return all
}

// createReport opens a file named after the test; a test's second run gets a
// number. Reports of earlier processes are replaced.
func createReport(dir, test string) (*os.File, error) {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, test)
	written := <-reportsWritten
	written[name]++
	n := written[name]
	reportsWritten <- written
	if n > 1 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return os.Create(filepath.Join(dir, name+".html"))
}

// WriteReport writes a page of HTML with the table and plots of all variants.
// It is complete in itself: it loads nothing, and can be mailed.
func (rs Results) WriteReport(w io.Writer, title string) error {
	return reportTemplate.Execute(w, rs.page(title))
}

type page struct {
	Title    string
	Header   []string
	Variants []pageVariant
	Plots    []plot
	Facts    []fact
	Data     template.JS
}

type pageVariant struct {
	Name   string
	Color  int
	Cells  []string
	Broken []string
	Asked  int
}

type fact struct{ Name, Text string }

// A plot is one diagram with a line for each variant. Lines are drawn in a box
// of 1000 by 100, which the page stretches; labels are text beside it, so that
// they stay readable.
type plot struct {
	Title, Note string
	Lines       []line
	Bands       []band
	Y           []label
	X           []label
	Format      string // how the page shows a value: count, time
}

type line struct {
	Name   string
	Color  int // 0: what was offered
	Path   string
	Values []float64
}

type band struct {
	X, Width float64
	Text     string
}

type label struct {
	At   float64 // percent of the axis
	Text string
}

const colors = 8 // in the page's style sheet

func (rs Results) page(title string) page {
	p := page{Title: title, Header: rs.header()[1:]}
	rows := rs.rows()
	for i, r := range rs {
		v := pageVariant{Name: rows[i][0], Color: i%colors + 1, Cells: rows[i][1:], Asked: len(r.Scenario.Require)}
		for _, err := range r.Check(r.Scenario.Require...) {
			v.Broken = append(v.Broken, strings.SplitN(err.Error(), "\n", 2)[0])
		}
		if len(rs) == 1 && v.Name == "-" {
			v.Name = "result"
		}
		p.Variants = append(p.Variants, v)
	}
	p.Plots = rs.plots()
	p.Facts = rs[0].facts()
	type dataLine struct {
		Name   string
		Color  int
		Values []float64
	}
	data := make([]struct {
		Format string
		Lines  []dataLine
	}, len(p.Plots))
	for i, plot := range p.Plots {
		data[i].Format = plot.Format
		for _, l := range plot.Lines {
			data[i].Lines = append(data[i].Lines, dataLine{l.Name, l.Color, l.Values})
		}
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		panic(err) // numbers and names; NaN is kept out
	}
	p.Data = template.JS(encoded) //nolint:gosec // json.Marshal escapes what could end a script.
	return p
}

// facts describe what was run.
func (r *Result) facts() []fact {
	s := r.Scenario
	facts := []fact{{"Run", fmt.Sprintf("%v of virtual time, seed %d", s.For, s.Seed)}}
	for _, c := range s.Load {
		text := fmt.Sprintf("%d requests", r.Class(c.Name).Offered)
		if c.At == nil {
			low, high := math.Inf(1), 0.0
			for at := time.Duration(0); at < s.For; at += 100 * time.Millisecond {
				rate := c.Rate.PerSecond(at)
				low, high = min(low, rate), max(high, rate)
			}
			text += fmt.Sprintf(", %s per second", formatNumber(low))
			if high > low {
				text = fmt.Sprintf("%s to %s", strings.TrimSuffix(text, " per second"), formatNumber(high)) + " per second"
			}
			text += ", " + c.Arrivals.String()
		} else {
			text += ", recorded"
		}
		if c.Patience > 0 {
			text += fmt.Sprintf(", patience %v", c.Patience)
		}
		facts = append(facts, fact{"Load: " + c.Name, text})
	}
	for _, server := range s.Servers {
		facts = append(facts, fact{"Server: " + server.Name, server.describe()})
	}
	for _, f := range s.Faults {
		facts = append(facts, fact{"Fault: " + f.Server, fmt.Sprintf("%s, %v to %v", f.what(), f.From, f.To)})
	}
	return facts
}

func (s Server) describe() string {
	var parts []string
	if s.Workers == 0 {
		parts = append(parts, "no bound on concurrency")
	} else {
		parts = append(parts, fmt.Sprintf("%d workers", s.Workers))
	}
	if s.Service.mean > 0 {
		parts = append(parts, fmt.Sprintf("%s of service in the mean", formatTime(float64(s.Service.mean))))
		if s.Workers > 0 && s.Handle == nil && s.Handler == nil && s.Slowdown == nil && s.Cache.Keys == 0 {
			parts = append(parts, fmt.Sprintf("so at most %s per second", formatNumber(float64(s.Workers)/s.Service.mean.Seconds())))
		}
	}
	if s.Slowdown != nil {
		parts = append(parts, "slower the more it does at once")
	}
	if s.Workers > 0 {
		q := "queue " + s.Queue.Order.String()
		switch {
		case s.Queue.Max > 0:
			q += fmt.Sprintf(" of %d", s.Queue.Max)
		case s.Queue.Max < 0:
			q = "no queue"
		default:
			q += " without bound"
		}
		if s.Queue.DropExpired {
			q += ", drops what has expired"
		}
		if s.Queue.CoDel.Target > 0 {
			q += fmt.Sprintf(", CoDel %v/%v", s.Queue.CoDel.Target, s.Queue.CoDel.interval())
		}
		parts = append(parts, q)
	}
	if s.Cache.Keys > 0 {
		parts = append(parts, fmt.Sprintf("cache of %d keys", s.Cache.Keys))
	}
	return strings.Join(parts, ", ")
}

// plots draws every figure that tells something.
func (rs Results) plots() []plot {
	var plots []plot
	requests := func(title, class string) {
		p := plot{Title: title, Note: "Requests per second, by the second in which they were due to start; dashed: offered", Format: "count"}
		offered := rs.series(func(r *Result, i int) (float64, bool) {
			s := r.Class(class)
			if s == nil {
				return 0, false
			}
			return float64(s.Seconds[i].Offered), true
		})
		same := true
		for _, l := range offered[1:] {
			same = same && l.Path == "" && fmt.Sprint(l.Values) == fmt.Sprint(offered[0].Values)
		}
		for i, l := range offered {
			if same && i > 0 {
				break
			}
			l.Color = 0
			if same {
				l.Name = "offered"
			} else {
				l.Name = "offered: " + l.Name
			}
			p.Lines = append(p.Lines, l)
		}
		p.Lines = append(p.Lines, rs.series(func(r *Result, i int) (float64, bool) {
			s := r.Class(class)
			if s == nil {
				return 0, false
			}
			return float64(s.Seconds[i].Good), true
		})...)
		plots = append(plots, p)
	}
	requests("Answered in time", "")
	if classes := rs[0].Classes; len(classes) > 1 {
		for _, c := range classes {
			requests("Answered in time: "+c.Name, c.Name)
		}
	}
	plots = append(plots, plot{
		Title: "Latency", Note: "99th percentile from the intended start, of answered and late requests; logarithmic", Format: "time",
		Lines: rs.series(func(r *Result, i int) (float64, bool) {
			d := r.Seconds[i].P99
			return d.Seconds(), d > 0
		}),
	})
	server := func(title, note, name string, of func(ServerSecond) int) {
		p := plot{Title: title, Note: note, Format: "count"}
		drawn := false
		p.Lines = rs.series(func(r *Result, i int) (float64, bool) {
			s := r.Server(name)
			if s == nil {
				return 0, false
			}
			v := of(s.Seconds[i])
			drawn = drawn || v > 0
			return float64(v), true
		})
		if drawn {
			plots = append(plots, p)
		}
	}
	for _, name := range rs.servers() {
		server("Attempts at "+name, "Calls that reached it per second", name, func(s ServerSecond) int { return s.Attempts })
		server("Wasted work at "+name, "Calls per second that it finished for callers who had gone", name, func(s ServerSecond) int { return s.Wasted })
		server("Queue at "+name, "Most calls waiting, in each second", name, func(s ServerSecond) int { return s.Waiting })
	}
	plots = append(plots, plot{
		Title: "In flight", Note: "Most requests at once, in each second", Format: "count",
		Lines: rs.series(func(r *Result, i int) (float64, bool) { return float64(r.Seconds[i].InFlight), true }),
	}, plot{
		Title: "Goroutines", Note: "Most at once, above those before the run; measured in this process", Format: "count",
		Lines: rs.series(func(r *Result, i int) (float64, bool) { return float64(r.Seconds[i].Goroutines), true }),
	})
	for i := range plots {
		rs.draw(&plots[i])
	}
	return plots
}

// none stands for a missing value among those of a line.
const none = -1

func (rs Results) series(of func(r *Result, second int) (float64, bool)) []line {
	lines := make([]line, len(rs))
	for i, r := range rs {
		name := r.Variant
		if name == "" {
			name = "result"
		}
		lines[i] = line{Name: name, Color: i%colors + 1, Values: make([]float64, len(r.Seconds))}
		for s := range r.Seconds {
			v, ok := of(r, s)
			if !ok {
				v = none
			}
			lines[i].Values[s] = v
		}
	}
	return lines
}

// draw turns values into paths and labels.
func (rs Results) draw(p *plot) {
	seconds, top, bottom := 0, 0.0, math.Inf(1)
	for _, l := range p.Lines {
		seconds = max(seconds, len(l.Values))
		for _, v := range l.Values {
			top = max(top, v)
			if v > 0 {
				bottom = min(bottom, v)
			}
		}
	}
	var height func(float64) float64 // percent of the axis
	if p.Format == "time" {
		height = p.logarithmic(bottom, top)
	} else {
		height = p.linear(top)
	}
	for i := range p.Lines {
		var b strings.Builder
		pen := 'M'
		for s, v := range p.Lines[i].Values {
			if v == none {
				pen = 'M'
				continue
			}
			x := (float64(s) + 0.5) * 1000 / float64(seconds)
			fmt.Fprintf(&b, "%c%.1f %.2f", pen, x, 100-height(v))
			if pen == 'M' {
				b.WriteString("h0") // a dot, should nothing follow
			}
			pen = 'L'
		}
		p.Lines[i].Path = b.String()
	}
	step := tick(float64(seconds)/5, []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400})
	for s := 0.0; s <= float64(seconds); s += step {
		p.X = append(p.X, label{s * 100 / float64(seconds), fmt.Sprint(time.Duration(s) * time.Second)})
	}
	for _, f := range rs.faults() {
		p.Bands = append(p.Bands, band{
			X:     f.From.Seconds() * 1000 / float64(seconds),
			Width: (f.To - f.From).Seconds() * 1000 / float64(seconds),
			Text:  f.String(),
		})
	}
}

// faults are those of all variants, and their spikes of load.
func (rs Results) faults() []Fault {
	var faults []Fault
	seen := make(map[Fault]bool)
	for _, r := range rs {
		for _, f := range r.Scenario.Faults {
			if !seen[f] {
				seen[f] = true
				faults = append(faults, f)
			}
		}
	}
	return faults
}

func (p *plot) linear(top float64) func(float64) float64 {
	if top == 0 {
		top = 1
	}
	magnitude := math.Pow(10, math.Floor(math.Log10(top/2)))
	step := max(tick(top/4/magnitude, []float64{1, 2, 2.5, 5, 10, 20, 25, 50})*magnitude, 1)
	end := math.Ceil(top/step) * step
	for v := 0.0; v <= end; v += step {
		p.Y = append(p.Y, label{v * 100 / end, formatNumber(v)})
	}
	return func(v float64) float64 { return v * 100 / end }
}

func (p *plot) logarithmic(bottom, top float64) func(float64) float64 {
	if top == 0 {
		bottom, top = 0.001, 1
	}
	low, high := math.Floor(math.Log10(bottom)), math.Ceil(math.Log10(top))
	if high == low {
		high++
	}
	for e := low; e <= high; e++ {
		for _, m := range []float64{1, 2, 5} {
			if m > 1 && (high-low > 2 || e == high) {
				break // decades are enough
			}
			at := math.Log10(m) + e
			p.Y = append(p.Y, label{(at - low) * 100 / (high - low), formatTime(m * math.Pow(10, e) * float64(time.Second))})
		}
	}
	return func(v float64) float64 {
		return (math.Log10(max(v, bottom)) - low) * 100 / (high - low)
	}
}

// tick is the smallest of the ascending steps that is not below what is wanted.
func tick(wanted float64, steps []float64) float64 {
	for _, s := range steps {
		if s >= wanted {
			return s
		}
	}
	return wanted
}
