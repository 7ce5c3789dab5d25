package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// options are what the flags say.
type options struct {
	rate                 float64
	healthy, hang, after time.Duration
	within, patience     time.Duration
	workers              int
	seed                 uint64
	points               bool
	report, metrics      string
}

// length is how long pages are asked for in one run.
func (o options) length() time.Duration { return o.healthy + o.hang + o.after }

const usageHead = `Storefront shows on real traffic what the stability patterns are for.

A storefront calls inventory, pricing and recommendations over real HTTP on
loopback. Shoppers ask for pages whether or not earlier pages have been
answered. After some seconds recommendations accept calls and hang; later they
come back. The same scenario runs without and with the library.

Usage:

	go run ./examples/storefront [flags]

Flags:

`

const usageTail = `
Exit status: 0 the protected run held, 1 it did not, 2 the flags are wrong or
ask for what cannot be had, 130 interrupted.

The protected run holds when, while recommendations hang, at least 99.5 % of the
pages that do not need them and at least 95 % of all pages are good, and when,
once its breaker has opened, only probes reach them.
`

// parse reads the flags. For -h it writes the usage to w and returns
// flag.ErrHelp.
func parse(args []string, w io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("storefront", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.Float64Var(&o.rate, "rate", 200, "`pages` asked for a second, at random instants (Poisson), 1 to 2000")
	fs.DurationVar(&o.healthy, "healthy", 4*time.Second, "how long (a `duration`) all is well at first")
	fs.DurationVar(&o.hang, "hang", 8*time.Second, "how long (a `duration`) recommendations then accept calls and hang")
	fs.DurationVar(&o.after, "after", 7*time.Second, "how long (a `duration`) the run goes on once they are back")
	fs.DurationVar(&o.within, "within", time.Second, "a page is good when it is complete within this `duration` from when it was wanted")
	fs.DurationVar(&o.patience, "patience", 3*time.Second, "a shopper gives up after this `duration`")
	fs.IntVar(&o.workers, "workers", 32, "`pages` the storefront works on at once; more wait for a worker")
	fs.Uint64Var(&o.seed, "seed", 1, "`seed` of the order and instants of the pages, the same in both runs")
	fs.StringVar(&o.report, "report", "storefront.html", "`file` the HTML report is written to; \"\" writes none")
	fs.BoolVar(&o.points, "points", true, "list the points at which the storefront can fail, with the policies that guard them")
	fs.StringVar(&o.metrics, "metrics", "", "`address`, such as :9464, at which to serve Prometheus metrics under /metrics while it runs; \"\" serves none")
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
	return o, o.validate()
}

func (o options) validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"healthy", o.healthy}, {"hang", o.hang}, {"after", o.after},
		{"within", o.within}, {"patience", o.patience},
	} {
		if d.value < 10*time.Millisecond || d.value > time.Hour {
			return fmt.Errorf("-%s %v is not between 10ms and 1h", d.name, d.value)
		}
	}
	switch {
	case !(o.rate >= 1 && o.rate <= 2000): // A NaN fails this too.
		return fmt.Errorf("-rate %v is not between 1 and 2000", o.rate)
	case o.workers < 1 || o.workers > 10000:
		return fmt.Errorf("-workers %d is not between 1 and 10000", o.workers)
	case o.patience <= o.within:
		return fmt.Errorf("-patience %v is not longer than -within %v", o.patience, o.within)
	}
	return nil
}
