// Package scene is what the anti-patterns have in common: a scene that is played
// twice, unguarded and guarded, under a load that does not wait for answers, with
// servers on loopback, a database, and an end at which all of it is gone.
package scene

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// A Scene is an anti-pattern and its countermeasure: a program that can be played
// with and without what guards it.
type Scene struct {
	Name  string      // of its folder
	Title string      // as Release It! has it
	Story string      // what happens, in a sentence or two
	Guard string      // what stops it, in a few words
	Want  Requirement // what the program has been asked to hold
	Plot  Plot

	// Program plays the scene on the stage and returns what it measured there.
	Program func(*Stage) (Measured, error)
}

// A Plot is what is drawn of a run.
type Plot struct {
	Title string
	Unit  string
	Bound bool // whether the bound of the Requirement is a value of the plot
}

// A Requirement bounds a figure, from below or from above.
type Requirement struct {
	Text    string // what the figure is
	Unit    string
	AtLeast float64
	AtMost  float64 // 0: the bound is AtLeast
}

// Met reports whether the figure is within the bound.
func (r Requirement) Met(figure float64) bool {
	if r.AtMost > 0 {
		return figure <= r.AtMost
	}
	return figure >= r.AtLeast
}

// Bound is the bound in words.
func (r Requirement) Bound() string {
	if r.AtMost > 0 {
		return "at most " + r.Format(r.AtMost)
	}
	return "at least " + r.Format(r.AtLeast)
}

// String is the requirement in words.
func (r Requirement) String() string { return r.Text + ": " + r.Bound() }

// Format prints a figure with its unit, in tenths. It rounds to the side on which
// the figure looks worse, so that a figure that reads as the bound has met it.
func (r Requirement) Format(figure float64) string {
	tenths := math.Floor(figure*10 + 1e-6)
	if r.AtMost > 0 {
		tenths = math.Ceil(figure*10 - 1e-6)
	}
	text := strconv.FormatFloat(tenths/10+0, 'f', -1, 64) // + 0 makes a 0 of a −0
	if r.Unit != "" {
		text += " " + r.Unit
	}
	return text
}

// Measured is what a program found out.
type Measured struct {
	Figure float64 // of the scene's Requirement
	Series []Point // of its plot
	Notes  []string
}

// Note adds a sentence with a further figure.
func (m *Measured) Note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

// A Point is a value at an instant of a run.
type Point struct {
	At    time.Duration
	Value float64
}

// Options are what all runs have in common.
type Options struct {
	Length   time.Duration // for how long there is load
	Postgres string        // the address of a PostgreSQL server; "": SQLite in a temporary file
	Progress io.Writer     // gets a line every second
}

// The names of the two sides.
const (
	Unguarded = "unguarded"
	Guarded   = "guarded"
)

// Play plays one side of the scene. When it returns, all that the program started
// has ended. It returns ctx's error where ctx ended first.
func (sc Scene) Play(ctx context.Context, o Options, guarded bool) (m Measured, err error) {
	s := newStage(ctx, o, guarded)
	defer func() {
		if closing := s.close(); err == nil {
			err = closing
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", sc.Name, s.side(), err)
		}
	}()
	return sc.Program(s)
}
