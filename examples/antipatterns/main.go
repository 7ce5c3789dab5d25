// Antipatterns plays the stability anti-patterns of Nygard's Release It!, both
// editions, each on real sockets and goroutines, some on a real database: once as
// programs do the wrong thing, and once guarded by the library.
//
// Each scene has a requirement. The unguarded program is to fail it and the guarded
// one to meet it; the exit status says whether all did.
//
//	go run ./examples/antipatterns
//
// The flag -h explains the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/examples/internal/report"
)

// Exit statuses, as the usage text lists them.
const (
	exitShown       = 0
	exitNotShown    = 1
	exitBadFlags    = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it plays the scenes, prints what they measured, and returns
// the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitShown
	case err != nil:
		fmt.Fprintf(stderr, "antipatterns: %v\nRun it with -h for its flags.\n", err)
		return exitBadFlags
	case opts.list:
		printList(stdout)
		return exitShown
	}
	file, err := report.Open(opts.report) // now, so that a wrong path shows before the scenes are played
	if err != nil {
		fmt.Fprintf(stderr, "antipatterns: -report: %v\n", err)
		return exitBadFlags
	}
	defer file.Close()

	s := summary{options: opts}
	began := time.Now()
	for i, sc := range opts.scenes {
		fmt.Fprintf(stdout, "%s (%d of %d)\n", sc.Title, i+1, len(opts.scenes))
		r, err := play(ctx, sc, opts.playing(stdout))
		if ctx.Err() != nil {
			s.Interrupted = true
			break
		}
		if err != nil {
			fmt.Fprintf(stderr, "antipatterns: %v\n", err)
			return exitNotShown
		}
		s.Results = append(s.Results, r)
	}
	s.took = time.Since(began)

	s.printTo(stdout)
	if file != nil {
		if err := report.Write(file, reportTemplate, s.contents()); err != nil {
			fmt.Fprintf(stderr, "antipatterns: -report: %v\n", err)
			return exitNotShown
		}
		fmt.Fprintf(stdout, "\nThe report with a plot of each: %s\n", file.Name())
	}
	switch {
	case s.Interrupted:
		return exitInterrupted
	case !s.Shown():
		return exitNotShown
	}
	if err := updatePages(opts.pages, s); err != nil {
		fmt.Fprintf(stderr, "antipatterns: -pages: %v\n", err)
		return exitNotShown
	}
	return exitShown
}

// A result is what both sides of a scene measured.
type result struct {
	Scene              scene.Scene
	Unguarded, Guarded scene.Measured
}

func play(ctx context.Context, sc scene.Scene, o scene.Options) (r result, err error) {
	r.Scene = sc
	if r.Unguarded, err = sc.Play(ctx, o, false); err != nil {
		return r, err
	}
	r.Guarded, err = sc.Play(ctx, o, true)
	return r, err
}

// Failed reports whether the unguarded program fails the requirement, as it is to.
func (r result) Failed() bool { return !r.Scene.Want.Met(r.Unguarded.Figure) }

// Met reports whether the guarded program meets it.
func (r result) Met() bool { return r.Scene.Want.Met(r.Guarded.Figure) }

// Shown reports whether the scene shows what it is for.
func (r result) Shown() bool { return r.Failed() && r.Met() }

// Verdict says the same in words.
func (r result) Verdict() string {
	switch {
	case r.Shown():
		return "brought down, and stopped"
	case r.Met():
		return "NOT BROUGHT DOWN"
	default:
		return "NOT STOPPED"
	}
}
