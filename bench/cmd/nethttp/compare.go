package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// times is how often a test that differs is run on both sides, the first time included.
const times = 5

// A count is how often a test was not well.
type count struct{ bad, of int }

// String implements [fmt.Stringer].
func (c count) String() string { return fmt.Sprintf("%d of %d", c.bad, c.of) }

// A difference is a test that behaves differently behind guards.
type difference struct {
	suite, test    string
	guard          guard
	outcome        outcome // the worst that was seen behind the guards
	guarded, plain count
	output         []byte // of the first run behind the guards that differed
}

// steady reports whether it is a difference, and not a test that now and then fails
// by itself: it happened at least twice, and more than twice as often as without
// guards. What is left running is one where it is always there, because some suites
// count goroutines without waiting for those that are about to end.
func (d *difference) steady() bool {
	if d.outcome == leak {
		return d.always()
	}
	return d.guarded.bad >= 2 && d.guarded.bad > 2*d.plain.bad
}

// always reports whether it was there each time, and never without guards.
func (d *difference) always() bool { return d.guarded.bad == d.guarded.of && d.plain.bad == 0 }

// A result is what the comparison of a suite found.
type result struct {
	suite            suite
	tests            int
	met              int      // tests in which a Transport or a Handler was asked
	clients, servers int      // of them those with a Transport, with a Handler
	neverWell        []string // tests that are not well without guards either
	differences      []*difference
}

// compare runs the tests of a suite: as they are, behind default guards and behind
// guards that are off; and those that differ more often.
func (b *binary) compare(ctx context.Context, tests []string, workers int, log io.Writer) (*result, error) {
	began := time.Now()
	res := &result{suite: b.suite, tests: len(tests)}
	var mu sync.Mutex
	suspects := map[string]map[guard]*run{}
	err := each(workers, tests, func(test string) error {
		is, err := b.do(ctx, test, plain, 3*time.Minute)
		if err != nil {
			return err
		}
		runs := map[guard]*run{}
		var client, server bool
		for _, g := range []guard{byDefault, allOff} {
			r, err := b.do(ctx, test, g, patience(is.took))
			if err != nil {
				return err
			}
			if !r.client && !r.server {
				break // it met no guard, so that whatever differs is none of theirs
			}
			client, server = client || r.client, server || r.server
			if len(worse(is.outcomes, r.outcomes)) > 0 {
				runs[g] = r
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if client || server {
			res.met++
		}
		if client {
			res.clients++
		}
		if server {
			res.servers++
		}
		if o := is.outcomes[test]; o != pass && o != skip {
			res.neverWell = append(res.neverWell, test+" "+string(o))
		}
		if len(runs) > 0 {
			runs[plain] = is
			suspects[test] = runs
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(res.neverWell)
	fmt.Fprintf(log, "%s: %d tests in %v, %d to be looked at again\n", b.pkg, len(tests), time.Since(began).Round(time.Second), len(suspects))
	if len(res.neverWell) > 0 {
		fmt.Fprintf(log, "  not well without guards: %s\n", strings.Join(res.neverWell, ", "))
	}
	// Most of these wait for what does not come, and need no processor for that.
	err = each(2*workers, slices.Sorted(maps.Keys(suspects)), func(test string) error {
		found, err := b.again(ctx, test, suspects[test])
		mu.Lock()
		defer mu.Unlock()
		res.differences = append(res.differences, found...)
		return err
	})
	slices.SortFunc(res.differences, func(x, y *difference) int {
		return strings.Compare(x.test+" "+string(x.guard), y.test+" "+string(y.guard))
	})
	return res, err
}

// patience is how long a test may take behind guards that took so long without.
func patience(took time.Duration) time.Duration { return 10*time.Second + 3*took.Round(time.Second) }

// again runs a test that differed more often, and counts.
func (b *binary) again(ctx context.Context, test string, first map[guard]*run) ([]*difference, error) {
	runs := map[guard][]*run{}
	for g, r := range first {
		runs[g] = []*run{r}
	}
	limit := patience(first[plain].took)
	for range times - 1 {
		for g := range first {
			r, err := b.do(ctx, test, g, limit)
			if err != nil {
				return nil, err
			}
			runs[g] = append(runs[g], r)
		}
	}
	return differences(b.pkg, runs), nil
}

// differences counts in which of several runs each test was worse, against what the
// same test was without guards when it was well.
func differences(suite string, runs map[guard][]*run) []*difference {
	well := map[string]outcome{}
	for _, r := range runs[plain] {
		for name, o := range r.outcomes {
			if o == pass || o == skip && well[name] == "" {
				well[name] = o
			}
		}
	}
	tally := func(rs []*run) map[string]*difference {
		found := map[string]*difference{}
		for _, r := range rs {
			for name, o := range worse(well, r.outcomes) {
				d := found[name]
				if d == nil {
					d = &difference{suite: suite, test: name, outcome: o, output: r.output}
					found[name] = d
				}
				d.guarded.bad++
			}
		}
		return found
	}
	without := tally(runs[plain])
	var all []*difference
	for _, g := range []guard{byDefault, allOff} {
		for _, d := range tally(runs[g]) {
			d.guard, d.guarded.of, d.plain.of = g, len(runs[g]), len(runs[plain])
			if p := without[d.test]; p != nil {
				d.plain.bad = p.guarded.bad
			}
			all = append(all, d)
		}
	}
	return all
}

// each calls do for each item, with so many workers, until one of them fails.
func each(workers int, items []string, do func(string) error) error {
	todo := make(chan string)
	failed := make(chan error, workers)
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for item := range todo {
				if err := do(item); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for _, item := range items {
		select {
		case todo <- item:
			continue
		case err = <-failed:
		}
		break
	}
	close(todo)
	working.Wait()
	if err == nil && len(failed) > 0 {
		err = <-failed
	}
	return err
}
