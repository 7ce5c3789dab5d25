// Command nethttp runs the tests of net/http behind the guards of this library: every
// client behind a default stabilityhttp.Transport and every server behind a default
// stabilityhttp.Handler, and once more with all their parts off. What differs from the
// same tests without guards has a reason in this command, and is listed with it in
// docs/NETHTTP.md; where one has none, the command fails.
//
//	go run ./bench/cmd/nethttp                             all suites
//	go run ./bench/cmd/nethttp -suite net/http -run Proxy  some tests, and no page
//
// It builds net/http with doors in it, from the source of the Go that is installed, and
// runs the tests of some users of net/http likewise.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

const page = "docs/NETHTTP.md"

func main() {
	var o options
	flag.StringVar(&o.suite, "suite", "", "only the suite of this package, and no page")
	flag.StringVar(&o.tests, "run", "", "only the tests that match this regular expression, and no page")
	flag.StringVar(&o.logs, "logs", "", "a folder in which to put what the tests that differ said")
	flag.IntVar(&o.workers, "p", runtime.NumCPU(), "how many tests to run at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.check(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nethttp:", err)
		os.Exit(1)
	}
}

type options struct {
	suite, tests, logs string
	workers            int
}

func (o options) check(ctx context.Context, log io.Writer) error {
	began := time.Now()
	results, err := o.results(ctx, log)
	if err != nil {
		return err
	}
	if o.logs != "" {
		if err := keep(o.logs, results); err != nil {
			return err
		}
	}
	whole := o.suite == "" && o.tests == ""
	verdict := judge(reasons, results)
	if !whole {
		verdict.stale = nil // they may be in what was not run
	}
	fmt.Fprint(log, verdict)
	fmt.Fprintf(log, "took %v\n", time.Since(began).Round(time.Second))
	if whole {
		if err := os.WriteFile(filepath.FromSlash(page), []byte(write(reasons, results)), 0o644); err != nil {
			return err
		}
	}
	switch {
	case len(verdict.unexplained) > 0:
		return fmt.Errorf("%d differences without a reason", len(verdict.unexplained))
	case len(verdict.stale) > 0:
		return fmt.Errorf("%d tests have a reason and do not differ any more", len(verdict.stale))
	}
	return nil
}

func (o options) results(ctx context.Context, log io.Writer) ([]*result, error) {
	only, err := regexp.Compile(o.tests)
	if err != nil {
		return nil, err
	}
	top, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nethttp")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w := &workshop{top: top, dir: dir}
	if w.root, err = w.goroot(ctx); err != nil {
		return nil, err
	}
	var results []*result
	for _, s := range suites {
		if o.suite != "" && o.suite != s.pkg {
			continue
		}
		began := time.Now()
		b, err := w.build(ctx, s)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "%s: built in %v\n", s.pkg, time.Since(began).Round(time.Second))
		tests, err := b.tests(ctx)
		if err != nil {
			return nil, err
		}
		tests = slices.DeleteFunc(tests, func(name string) bool { return !only.MatchString(name) })
		res, err := b.compare(ctx, tests, o.workers, log)
		if err != nil {
			return nil, err
		}
		if o.tests == "" && (res.clients == 0 || res.servers == 0) {
			return nil, fmt.Errorf("%s: no test met a guard: the doors lead nowhere", s.pkg)
		}
		results = append(results, res)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("there is no suite %q", o.suite)
	}
	return results, nil
}

// keep writes what the tests that differ said into a folder.
func keep(folder string, results []*result) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	for _, r := range results {
		for _, d := range r.differences {
			name := strings.NewReplacer("/", "_", " ", "_").Replace(fmt.Sprintf("%s.%s.%s.log", d.suite, d.test, d.guard))
			if err := os.WriteFile(filepath.Join(folder, name), d.output, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
