package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
)

// options are what the flags say.
type options struct {
	scenes   []scene.Scene
	names    string
	list     bool
	seconds  float64
	postgres string
	report   string
	pages    string
}

// playing is what a scene is to know of them.
func (o options) playing(progress io.Writer) scene.Options {
	return scene.Options{
		Length:   time.Duration(o.seconds * float64(time.Second)),
		Postgres: o.postgres,
		Progress: progress,
	}
}

const usageHead = `Antipatterns plays the stability anti-patterns of Nygard's Release It!, each on
real sockets and goroutines, some on a real database: once as programs do the
wrong thing, and once guarded by the library.

Usage:

	go run ./examples/antipatterns [flags]

Flags:

`

const usageTail = `
Exit status: 0 every unguarded program failed its requirement and every guarded
one met it, 1 one did not, 2 the flags are wrong or ask for what cannot be had,
130 interrupted.
`

// parse reads the flags. For -h it writes the usage to w and returns
// flag.ErrHelp.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("antipatterns", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&o.names, "run", "", "`names` of the scenes to play, with commas between them; \"\" plays all")
	fs.BoolVar(&o.list, "list", false, "list the scenes and play none")
	fs.Float64Var(&o.seconds, "seconds", 4, "how many `seconds` each of a scene's two runs is under load, 2 to 60")
	fs.StringVar(&o.postgres, "postgres", "", "`address` of a PostgreSQL server, such as postgres://localhost/test, to use in place of SQLite; each run makes a schema of its own there, and drops it")
	fs.StringVar(&o.report, "report", "antipatterns.html", "`file` the HTML report is written to; \"\" writes none")
	fs.StringVar(&o.pages, "pages", "", "`folder` of the scenes' pages, in which to write down what was measured where all was shown; \"\" writes nothing")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(w, usageHead)
			fs.SetOutput(w)
			fs.PrintDefaults()
			fmt.Fprint(w, usageTail)
		}
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if !(o.seconds >= 2 && o.seconds <= 60) { // A NaN fails this too.
		return options{}, fmt.Errorf("-seconds %v is not between 2 and 60", o.seconds)
	}
	var err error
	o.scenes, err = choose(o.names)
	return o, err
}

// choose returns the scenes of the names, in the order of the book.
func choose(names string) ([]scene.Scene, error) {
	if names == "" {
		return scenes, nil
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		wanted[strings.TrimSpace(name)] = true
	}
	var chosen []scene.Scene
	for _, sc := range scenes {
		if wanted[sc.Name] {
			chosen = append(chosen, sc)
			delete(wanted, sc.Name)
		}
	}
	for name := range wanted {
		return nil, fmt.Errorf("-run: there is no scene %q; -list lists them", name)
	}
	return chosen, nil
}

func printList(w io.Writer) {
	for _, sc := range scenes {
		fmt.Fprintf(w, "%-22s %s\n%22s %s\n", sc.Name, sc.Want, "", "guarded by "+sc.Guard)
	}
}
