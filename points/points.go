// Package points lists every named policy of a process: what it guards, how it stands, within
// which settings it works, and who answers for it. An operator reads and changes all of this
// by name, without the code that made the policies.
//
// A policy of this module is a point as soon as it has a name. A user's own policy becomes one
// by [Register].
//
// Nygard, Release It! (2nd ed., 2018), chapter 10, Control Plane: what runs has to be seen and
// steered from outside.
package points

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/text"
)

// A Point is one named policy, or one Group of policies, as it stood when it was read.
type Point struct {
	Policy string `json:"policy"` // the pattern: "breaker", "bulkhead", …
	Name   string `json:"name"`   // the policy's Config.Name

	Guards string `json:"guards,omitempty"` // of the [Description]
	Owner  string `json:"owner,omitempty"`  // of the [Description]
	Note   string `json:"note,omitempty"`   // of the [Description]

	// State is what the policy does with calls, such as "open"; "" where a policy
	// has no states.
	State string `json:"state,omitempty"`
	// Keys is how many members a Group has; 0 for a policy that is not a Group.
	Keys int `json:"keys,omitempty"`
	// Settings are the values in force, in the order of the policy's Config.
	Settings []Setting `json:"settings,omitempty"`
	// Calls is how calls have ended, and Figures is everything else that is counted or
	// measured; of a Group, both are of all its members.
	Calls   stability.Calls    `json:"calls"`
	Figures map[string]float64 `json:"figures,omitempty"`

	// Problem says what is wrong with this reading: a reader that panicked, or a figure that
	// is no finite number, which is left out. "" where nothing is wrong.
	Problem string `json:"problem,omitempty"`
}

// A Setting is one value that a policy works with.
type Setting struct {
	Name  string `json:"name"`           // as in a policy file: "failure_ratio"
	Value string `json:"value"`          // as in a policy file: "0.5", "10s", "true"
	Unit  string `json:"unit,omitempty"` // of a number: "calls", "permits"; "" where the value says it
	// Source is where the value comes from. The code, unless a Set changed it.
	Source Origin `json:"source"`
	// Until is when an operator's value ends; zero where it does not end.
	Until time.Time `json:"until,omitzero"`
}

// A Member is one policy of a Group.
type Member struct {
	Key     string             `json:"key"`               // that the Group was asked for
	State   string             `json:"state,omitempty"`   // as that of a Point
	Calls   stability.Calls    `json:"calls"`             // how they have ended
	Figures map[string]float64 `json:"figures,omitempty"` // everything else that is counted or measured
}

// A Description is what people know about a dependency and its policies do not.
type Description struct {
	Guards string // the dependency: "card payments at Acme, over HTTPS"
	Owner  string // the people that answer for it: a team, a rota
	Note   string // what to know when it fails: a runbook, what degrades
}

// Setting returns the setting of a name.
func (p Point) Setting(name string) (Setting, bool) {
	i := slices.IndexFunc(p.Settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return p.Settings[i], true
}

// List returns a reading of every named policy in the process, sorted by name and policy.
// Policies of one name and pattern stand in the order in which they were made. List may be
// called by any goroutine. It takes no lock that calls wait for longer than a reading takes.
func List() []Point {
	all, descriptions := register.snapshot()
	list := []Point{}
	for _, e := range all {
		p, ok := e.read()
		if !ok {
			continue
		}
		d := descriptions[p.Name]
		p.Guards, p.Owner, p.Note = d.Guards, d.Owner, d.Note
		list = append(list, p.finite())
	}
	slices.SortStableFunc(list, func(a, b Point) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Policy, b.Policy))
	})
	return list
}

// Members returns a reading of the members of the Groups of that name and pattern, sorted by
// key. The members that keys past a Group's bound share have the key [stability.OverflowKey].
// It returns nothing for a policy that is not a Group.
func Members(policy, name string) []Member {
	var list []Member
	for _, e := range register.named(policy, name) {
		list = append(list, e.members()...)
	}
	slices.SortStableFunc(list, func(a, b Member) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// finite returns p with those of its Figures that are finite numbers. The Problem names
// the others.
func (p Point) finite() Point {
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(p.Figures)) {
		if f := p.Figures[name]; math.IsNaN(f) || math.IsInf(f, 0) {
			odd = append(odd, fmt.Sprintf("figure %s is %v", text.Quoted(name), f))
		}
	}
	if odd == nil {
		return p
	}
	p.Figures = maps.Clone(p.Figures)
	maps.DeleteFunc(p.Figures, func(_ string, f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) })
	p.Problem = text.Shortened(joined(p.Problem, strings.Join(odd, ", ")), text.MaxCell)
	return p
}

// joined puts a semicolon between two texts if there are two.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// MarshalJSON leaves out figures that are no finite number, which JSON cannot express, and
// names them in the Problem.
func (p Point) MarshalJSON() ([]byte, error) {
	type plain Point // without this method
	return json.Marshal(plain(p.finite()))
}

// Markdown returns the points as a table, without their Figures. A Problem stands beside the
// state. Every text is shown as text: nothing in it is markup or ends its cell, and after 1024
// characters it is cut off.
func Markdown(list []Point) string {
	var b strings.Builder
	b.WriteString("| name | policy | guards | owner | settings | state | succeeded | failed | ignored | rejected | note |\n" +
		"|---|---|---|---|---|---|--:|--:|--:|--:|---|\n")
	for _, p := range list {
		var settings []string
		for _, s := range p.Settings {
			settings = append(settings, s.Name+" "+s.Value)
		}
		policy := p.Policy
		if p.Keys > 0 {
			policy = fmt.Sprintf("%s × %d", policy, p.Keys)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %d | %d | %d | %s |\n",
			text.Cell(p.Name), text.Cell(policy), text.Cell(p.Guards), text.Cell(p.Owner), text.Cell(strings.Join(settings, ", ")),
			text.Cell(joined(p.State, p.Problem)), p.Calls.Succeeded, p.Calls.Failed, p.Calls.Ignored, p.Calls.Rejected, text.Cell(p.Note))
	}
	return b.String()
}
