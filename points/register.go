package points

import (
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/crumplezone/stability/internal/text"
)

// A Source is how a policy of type T is read and changed as a point. Its functions may be
// called by any goroutine, also by several at once. They must not keep the owner.
type Source[T any] struct {
	// Read returns a reading of the moment. Policy and Name are to be the same each time.
	// It must not block. Required.
	Read func(owner *T) Point
	// Members returns readings of the members of a Group, in any order. nil: the policy is
	// not a Group.
	Members func(owner *T) iter.Seq[Member]
	// Set changes the named settings, all or none of them: it returns an error for a name that
	// the policy does not have and for a value that is not usable, and has changed nothing
	// then. nil: the policy has no settings that can be changed.
	Set func(owner *T, values map[string]string) error
	// Do does the action to the policy, or to the member of a key where the policy is a
	// Group. It makes no member. "" is the key of a policy that is not a Group, and of all
	// members of a Group. nil: there is no action.
	Do func(owner *T, key, action string) error
}

// Register makes a policy a point, until owner is no longer reachable. A policy of this module
// that has a name is registered when it is made. A panic of Read is named in the Problem of
// the point, and the other points are not affected. Register panics where owner or Read is nil.
func Register[T any](owner *T, s Source[T]) {
	if s.Read == nil {
		panic("points: Register: Read must not be nil")
	}
	w := weak.Make(owner)
	e := &entry{}
	e.last.Store(&identity{policy: fmt.Sprintf("%T", owner)})
	e.source = source{
		read: func() (p Point, ok bool) {
			if owner := w.Value(); owner != nil {
				return s.Read(owner), true
			}
			return Point{}, false
		},
		members: func() (list []Member) {
			if owner := w.Value(); owner != nil && s.Members != nil {
				list = slices.Collect(s.Members(owner))
			}
			return list
		},
		set: func(values map[string]string) error {
			owner := w.Value()
			switch {
			case owner == nil:
				return errGone
			case s.Set == nil:
				return errNoSettings
			}
			return s.Set(owner, values)
		},
		do: func(key, action string) error {
			owner := w.Value()
			switch {
			case owner == nil:
				return errGone
			case s.Do == nil:
				return errNoActions
			}
			return s.Do(owner, key, action)
		},
	}
	register.add(e, func(id uint64) { runtime.AddCleanup(owner, register.remove, id) }) // panics for a nil owner
}

// Describe says what the policies of a name guard. It may be called before they are made. The
// last call for a name counts.
func Describe(name string, d Description) {
	register.mu.Lock()
	defer register.mu.Unlock()
	if register.descriptions == nil {
		register.descriptions = map[string]Description{}
	}
	register.descriptions[name] = d
}

// register holds all points. It keeps no policy alive.
var register registry

type registry struct {
	mu           sync.Mutex
	next         uint64
	entries      map[uint64]*entry
	descriptions map[string]Description
}

func (r *registry) add(e *entry, watch func(id uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[uint64]*entry{}
	}
	r.next++
	watch(r.next) // first: it may panic
	r.entries[r.next] = e
}

func (r *registry) remove(id uint64) {
	r.mu.Lock()
	e := r.entries[id]
	delete(r.entries, id)
	r.mu.Unlock()
	if e != nil {
		e.stop()
	}
}

// snapshot returns the entries in the order in which they were made, and the descriptions.
// Policies are read without the lock: reading one takes its own.
func (r *registry) snapshot() ([]*entry, map[string]Description) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*entry, 0, len(r.entries))
	for _, id := range slices.Sorted(maps.Keys(r.entries)) {
		all = append(all, r.entries[id])
	}
	return all, maps.Clone(r.descriptions)
}

// named returns the entries of a pattern and name.
func (r *registry) named(policy, name string) []*entry {
	all, _ := r.snapshot()
	return slices.DeleteFunc(all, func(e *entry) bool {
		p, ok := e.read()
		return !ok || p.Policy != policy || p.Name != name
	})
}

// An entry is a registered policy, with the values that were set for it.
type entry struct {
	source
	last atomic.Pointer[identity]
	overrides
}

// A source is a Source without its owner's type.
type source struct {
	read    func() (Point, bool) // false: the owner is gone
	members func() []Member
	set     func(map[string]string) error
	do      func(key, action string) error
}

// identity is what a point is called when it cannot be read: as it was the last time, or
// else by its owner's type.
type identity struct{ policy, name string }

// read returns the point with the sources of its settings.
func (e *entry) read() (p Point, ok bool) {
	defer func() {
		if problem := recover(); problem != nil {
			was := e.last.Load()
			p, ok = Point{Policy: was.policy, Name: was.name}, true
			p.Problem = text.Shortened(fmt.Sprintf("reading panicked: %v", problem), text.MaxShown)
		}
	}()
	if p, ok = e.source.read(); !ok {
		return p, false
	}
	if is := (identity{p.Policy, p.Name}); is != *e.last.Load() {
		e.last.Store(&is)
	}
	p.Settings = slices.Clone(p.Settings)
	p.Problem = joined(p.Problem, e.mark(p.Settings))
	return p, true
}
