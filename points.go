package stability

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// A Point is a place at which the process may fail and has a policy against that:
// what is guarded, within which limits, who answers for it, and how it stands.
type Point struct {
	Policy string `json:"policy"` // the pattern: "breaker", "bulkhead", …
	Name   string `json:"name"`   // the policy's Config.Name

	Guards string `json:"guards,omitempty"` // as [Describe] was told for the name
	Owner  string `json:"owner,omitempty"`  // likewise
	Note   string `json:"note,omitempty"`   // likewise

	// State is what the policy does with calls, such as "open"; "" where a policy
	// has no states.
	State string `json:"state,omitempty"`
	// Keys is how many members a Group has; 0 for a policy that is not a Group.
	Keys int `json:"keys,omitempty"`
	// Limits are what the policy was configured with, or was set to since.
	Limits map[string]string `json:"limits,omitempty"`
	// Calls is how calls have ended, and Figures what else is counted or measured;
	// of a Group, of all its members.
	Calls   Calls              `json:"calls"`
	Figures map[string]float64 `json:"figures,omitempty"`

	// Problem is what is wrong with this reading, such as a reader that panicked or a
	// figure that is no number, which is left out; "" where nothing is.
	Problem string `json:"problem,omitempty"`
}

// A Description is what people know about a dependency and its policies do not.
type Description struct {
	Guards string // what is guarded: "card payments at Acme, over HTTPS"
	Owner  string // who answers for it: a team, a rota
	Note   string // what to know when it fails: a runbook, what degrades
}

// The register holds the policies weakly: it keeps none of them alive.
var register struct {
	mu           sync.Mutex
	next         uint64
	points       map[uint64]func() (Point, bool)
	descriptions map[string]Description
}

// Describe says what the policies of a name guard. It may be called before they
// exist; the last call for a name counts.
func Describe(name string, d Description) {
	register.mu.Lock()
	defer register.mu.Unlock()
	if register.descriptions == nil {
		register.descriptions = map[string]Description{}
	}
	register.descriptions[name] = d
}

// Register makes a policy one of the [Points], until owner is no longer reachable.
// The policies of this module that have a name do it when they are made; it is
// for those who write a policy of their own. read is called for each reading, by
// any goroutine, and must neither block nor keep what it is given. Where read panics, the
// Problem of the point says so; the other points are not affected.
func Register[T any](owner *T, read func(*T) Point) {
	w := weak.Make(owner)
	register.mu.Lock()
	defer register.mu.Unlock()
	if register.points == nil {
		register.points = map[uint64]func() (Point, bool){}
	}
	register.next++
	id := register.next
	runtime.AddCleanup(owner, unregister, id) // panics for a nil owner, before it is a point
	var last atomic.Pointer[identity]
	last.Store(&identity{policy: fmt.Sprintf("%T", owner)})
	register.points[id] = func() (p Point, there bool) {
		owner := w.Value()
		if owner == nil {
			return Point{}, false
		}
		defer func() {
			if problem := recover(); problem != nil {
				was := last.Load()
				p, there = Point{Policy: was.policy, Name: was.name}, true
				p.Problem = shortened(fmt.Sprintf("reading panicked: %v", problem), maxShown)
			}
		}()
		p = read(owner)
		if is := (identity{p.Policy, p.Name}); is != *last.Load() {
			last.Store(&is)
		}
		return p, true
	}
}

// identity is what a point is called when it cannot be read: as it was the last time, or
// else by its owner's type.
type identity struct{ policy, name string }

func unregister(id uint64) {
	register.mu.Lock()
	defer register.mu.Unlock()
	delete(register.points, id)
}

// PointList is a reading of all points of a process. Its JSON is an array.
type PointList []Point

// Points returns a reading of every named policy in the process, in the order of
// their names, policies and making.
func Points() PointList {
	register.mu.Lock()
	ids := slices.Sorted(maps.Keys(register.points))
	reads := make([]func() (Point, bool), len(ids))
	for i, id := range ids {
		reads[i] = register.points[id]
	}
	descriptions := maps.Clone(register.descriptions)
	register.mu.Unlock()

	// Policies are read without the lock: reading one takes its own.
	list := PointList{}
	for _, read := range reads {
		p, ok := read()
		if !ok {
			continue
		}
		d := descriptions[p.Name]
		p.Guards, p.Owner, p.Note = d.Guards, d.Owner, d.Note
		list = append(list, p.numbered())
	}
	slices.SortStableFunc(list, func(a, b Point) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Policy, b.Policy))
	})
	return list
}

// numbered returns p with those of its Figures that are finite numbers. The Problem names
// the others.
func (p Point) numbered() Point {
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(p.Figures)) {
		if f := p.Figures[name]; math.IsNaN(f) || math.IsInf(f, 0) {
			odd = append(odd, fmt.Sprintf("figure %s is %v", quoted(name), f))
		}
	}
	if odd == nil {
		return p
	}
	p.Figures = maps.Clone(p.Figures)
	maps.DeleteFunc(p.Figures, func(_ string, f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) })
	p.Problem = shortened(joined(p.Problem, strings.Join(odd, ", ")), maxCell)
	return p
}

// joined puts a semicolon between two texts if there are two.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// MarshalJSON leaves out figures that are no finite number, of which JSON has none, and
// names them in the Problem.
func (p Point) MarshalJSON() ([]byte, error) {
	type plain Point // without this method
	return json.Marshal(plain(p.numbered()))
}

// JSON returns the list as indented JSON.
func (l PointList) JSON() []byte {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil { // there is nothing in a Point that has no JSON
		return fmt.Appendf(nil, "%q\n", err.Error())
	}
	return append(text, '\n')
}

// Markdown returns the list as a table, without the Figures. A Problem stands beside the
// state. Texts are shown as what they are: none of them is markup, ends its cell, or has
// more than 1024 characters.
func (l PointList) Markdown() string {
	var b strings.Builder
	b.WriteString("| name | policy | guards | owner | limits | state | succeeded | failed | ignored | rejected | note |\n" +
		"|---|---|---|---|---|---|--:|--:|--:|--:|---|\n")
	for _, p := range l {
		var limits []string
		for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
			limits = append(limits, name+" "+p.Limits[name])
		}
		policy := p.Policy
		if p.Keys > 0 {
			policy = fmt.Sprintf("%s × %d", policy, p.Keys)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %d | %d | %d | %s |\n",
			cell(p.Name), cell(policy), cell(p.Guards), cell(p.Owner), cell(strings.Join(limits, ", ")), cell(joined(p.State, p.Problem)),
			p.Calls.Succeeded, p.Calls.Failed, p.Calls.Ignored, p.Calls.Rejected, cell(p.Note))
	}
	return b.String()
}
