// Package bench puts this library beside others that do the same work. A [Row] is a
// piece of work, and its candidates are ways to have it done, each configured to do
// as much as the others; what the others cannot do, ours is told not to.
//
// `make bench` runs the rows as Go benchmarks; cmd/report runs them interleaved and
// writes BENCHMARKS.md; cmd/instructions counts the instructions of our own.
package bench

import (
	"context"
	"errors"
	"fmt"
)

// A Row is a piece of work that several candidates do.
type Row struct {
	// Name says what the work is.
	Name string
	// Note says what there is to know about the row. It may be empty.
	Note string
	// Crowd is how many goroutines there are for each core where the row runs in
	// parallel. 0 stands for 1.
	Crowd int
	// Real is set where a call leaves the process, so that more and longer rounds
	// are needed to see a difference.
	Real bool
	// Goals are the ratios to reach.
	Goals []Goal
	// Candidates do the work. The first one is this library.
	Candidates []Candidate
}

// A Goal is how many times as long as another candidate ours may take at most.
type Goal struct {
	// Name is the name of the goal.
	Name string
	// Ours and Against are names of candidates. Ours is the first one where it is
	// empty.
	Ours, Against string
	// Serial is the bound for one goroutine, All that for all cores, and AllOfTwo that for
	// all cores of a machine with two, on which less is to be gained. 0 stands for All.
	Serial, All, AllOfTwo float64
}

// OnAll is the bound for all cores, of which there are so many.
func (g Goal) OnAll(cores int) float64 {
	if cores <= 2 && g.AllOfTwo != 0 {
		return g.AllOfTwo
	}
	return g.All
}

// A Kind is what a candidate is there for.
type Kind int

// The kinds of candidates.
const (
	Ours      Kind = iota // this library
	Peer                  // another library, or code written by hand
	Primitive             // the least that the work can cost: an atomic addition, a reading of the clock
)

// A Candidate does the work of a row in its way.
type Candidate struct {
	// Name is the name of the candidate, unique in its row.
	Name string
	// Kind is what it is there for.
	Kind Kind
	// How says how it is configured.
	How string
	// Setup prepares it. It panics when the candidate does not do the work.
	Setup func() Work
}

// Work is a candidate at work.
type Work struct {
	// Do does the work n times. Every goroutine has a number of its own.
	Do func(goroutine, n int)
	// Close ends what Setup began. It may be nil.
	Close func()
}

// Rows returns all rows, in the order of the report.
func Rows() []Row {
	return []Row{
		breakerClosed(), breakerTenth(), breakerOpen(),
		bulkheadFree(), bulkheadFull(), bulkheadContended(),
		rateGranted(), rateGrantedExactly(), rateRefused(), rateKeys(),
		timeoutInTime("timeout, parent cannot end", false), timeoutInTime("timeout, parent can end", true),
		retryFirst(),
		stackOfFive(), stackOfFour(), gates(),
		telemetryBreaker(), telemetryStack(),
		clientGet(), clientPost(), clientUpload(), clientDownload(),
	}
}

var errCall = errors.New("the call's own error")

// The calls that are guarded: as little as a call can be.
func ok(context.Context) error     { return nil }
func failed(context.Context) error { return errCall }
func okPlain() error               { return nil }
func failedPlain() error           { return errCall }

// each is Work without an end.
func each(do func(goroutine, n int)) Work { return Work{Do: do} }

// granted panics unless a call that was to be let through was.
func granted(err error) {
	if err != nil {
		panic(fmt.Sprintf("bench: a call that was to be let through: %v", err))
	}
}

// refused panics unless a call that was to be refused was.
func refused(err error) {
	if err == nil {
		panic("bench: a call that was to be refused was let through")
	}
}

// refusedUnless is refused for those that say by a bool whether a call may go on.
func refusedUnless(let bool) {
	if let {
		refused(nil)
	}
}

// grantedIf is granted for those that say by a bool whether a call may go on.
func grantedIf(let bool) {
	if !let {
		granted(errors.New("refused"))
	}
}
