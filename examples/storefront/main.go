// Storefront shows on real traffic what the stability patterns are for.
//
// A storefront calls inventory, pricing and recommendations over real HTTP on
// loopback, under a load that does not wait for answers. After some seconds
// recommendations, which the storefront can do without, accept calls and hang;
// later they come back. The same scenario runs without and with the library, and
// every figure of the table and of the report is measured in these two runs.
//
//	go run ./examples/storefront
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

	"github.com/crumplezone/stability/examples/internal/report"
	"github.com/crumplezone/stability/points"
)

// Exit statuses, as the usage text lists them.
const (
	exitHeld        = 0
	exitNotHeld     = 1
	exitBadFlags    = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it plays the scenario once for each of sides, prints
// what it measured, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitHeld
	}
	if err != nil {
		fmt.Fprintf(stderr, "storefront: %v\nRun it with -h for its flags.\n", err)
		return exitBadFlags
	}

	// What the flags ask for is taken before the run, so that a wrong path or a
	// busy port shows now and not a minute later.
	file, err := report.Open(opts.report)
	if err != nil {
		fmt.Fprintf(stderr, "storefront: -report: %v\n", err)
		return exitBadFlags
	}
	defer file.Close()
	meters, err := serveMetrics(opts.metrics)
	if err != nil {
		fmt.Fprintf(stderr, "storefront: -metrics: %v\n", err)
		return exitBadFlags
	}
	defer meters.close()

	fmt.Fprintf(stdout, "A storefront under %g pages a second; after %v its recommendations hang for %v.\n", opts.rate, opts.healthy, opts.hang)
	if meters.url != "" {
		fmt.Fprintf(stdout, "Prometheus metrics while it runs: %s\n", meters.url)
	}

	var results []result
	for _, side := range sides {
		if ctx.Err() != nil {
			break
		}
		r, err := play(ctx, opts, side, meters, stdout)
		if err != nil {
			fmt.Fprintf(stderr, "storefront: %v\n", err)
			return exitNotHeld
		}
		results = append(results, r)
	}

	s := summarize(opts, results, ctx.Err() != nil)
	s.printTo(stdout)
	if n := len(results); opts.points && n > 0 {
		fmt.Fprintf(stdout, "\nThe points at which the storefront can fail, as points.List has them:\n\n%s", points.Markdown(results[n-1].points))
	}
	if file != nil {
		if err := report.Write(file, reportTemplate, s.contents()); err != nil {
			fmt.Fprintf(stderr, "storefront: -report: %v\n", err)
			return exitNotHeld
		}
		fmt.Fprintf(stdout, "\nThe report with plots of both runs: %s\n", file.Name())
	}
	switch {
	case s.Interrupted:
		return exitInterrupted
	case !s.Held:
		return exitNotHeld
	}
	return exitHeld
}
