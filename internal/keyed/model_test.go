package keyed

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
)

// thing is what the tests keep for a key.
type thing struct {
	key       string
	pinned    bool
	forgotten int
}

func (t *thing) name() string { return t.key }

func newThings(keys stability.Keys) *Map[thing] {
	return newTold(keys,
		func(t *thing, key string) { t.key = key }, (*thing).name,
		func(t *thing) bool { return !t.pinned },
		func(t *thing) { t.forgotten++ })
}

// A model is a Map as a slice, for few enough members that the hand may always look
// at all of them. ring[0] is under the hand.
type model struct {
	max      int
	idleFor  time.Duration
	ring     []modelMember
	swept    time.Time
	overflow bool
}

type modelMember struct {
	thing  *thing
	marked bool
	quiet  time.Time
}

// get returns what Map.Get must: the key's member, or nil where it has to be a new
// one, or whether it is the overflow member.
func (m *model) get(key string) (want *thing, overflow bool) {
	for i := range m.ring {
		if m.ring[i].thing.key == key {
			m.ring[i].marked = true
			return m.ring[i].thing, false
		}
	}
	m.dropIdle()
	if len(m.ring) < m.max {
		return nil, false
	}
	// The first that is neither marked nor pinned; failing that, the first that is
	// not pinned.
	var spare *thing
	for range m.max {
		e := m.ring[0]
		if m.visit(0) {
			return nil, false
		}
		if spare == nil && !e.thing.pinned {
			spare = e.thing
		}
	}
	if spare == nil {
		return nil, true
	}
	m.ring = slices.DeleteFunc(m.ring, func(e modelMember) bool { return e.thing == spare })
	return nil, false
}

// dropIdle visits as many members as make idleRounds rounds in idleFor.
func (m *model) dropIdle() {
	if len(m.ring) == 0 || time.Since(m.swept) > m.idleFor {
		m.swept = time.Now().Add(-m.idleFor)
	}
	interval := m.idleFor / time.Duration(idleRounds*max(len(m.ring), 1))
	for time.Since(m.swept) >= interval {
		m.swept = m.swept.Add(interval)
		for len(m.ring) > 0 && m.visit(m.idleFor) {
			// Another for each that went.
		}
	}
}

func (m *model) visit(idleFor time.Duration) (dropped bool) {
	e := m.ring[0]
	m.ring = m.ring[1:]
	switch {
	case e.marked:
		e.marked, e.quiet = false, time.Now()
	case time.Since(e.quiet) >= idleFor && !e.thing.pinned:
		return true
	}
	m.ring = append(m.ring, e)
	return false
}

// machine runs a Map and its model side by side.
type machine struct {
	t    require.TestingT
	m    *Map[thing]
	want model
	made []*thing
}

func newMachine(t require.TestingT, maxMembers int) *machine {
	return &machine{
		t:    t,
		m:    newThings(stability.Keys{Max: maxMembers, IdleFor: time.Minute}),
		want: model{max: maxMembers, idleFor: time.Minute},
	}
}

func (s *machine) get(n int) {
	key := strconv.Itoa(n)
	if n%2 == 1 {
		key += strings.Repeat("'", n) // some are long
	}
	want, overflow := s.want.get(key)
	got := s.m.Get(key)
	switch {
	case overflow:
		require.Equal(s.t, stability.OverflowKey, got.key)
		s.want.overflow = true
	case want != nil:
		require.Same(s.t, want, got)
	default:
		require.Equal(s.t, key, got.key)
		require.NotContains(s.t, s.made, got, "a new member")
		s.made = append(s.made, got)
		s.want.ring = append(s.want.ring, modelMember{thing: got, quiet: time.Now()})
	}
	s.check()
}

// pin changes whether the n-th member would lose something by being dropped.
func (s *machine) pin(n int) {
	if len(s.want.ring) > 0 {
		e := s.want.ring[n%len(s.want.ring)]
		e.thing.pinned = !e.thing.pinned
	}
}

func (s *machine) check() {
	kept := map[*thing]bool{}
	for got := range s.m.All() {
		require.False(s.t, kept[got], "twice in All")
		kept[got] = true
	}
	require.Len(s.t, kept, s.m.Len())
	for _, e := range s.want.ring {
		require.Contains(s.t, kept, e.thing)
		require.Zero(s.t, e.thing.forgotten)
	}
	n := len(s.want.ring)
	if s.want.overflow {
		n++
	}
	require.Equal(s.t, n, s.m.Len())
	for _, thing := range s.made {
		if !kept[thing] {
			require.Equal(s.t, 1, thing.forgotten, "told once of each that was dropped")
			require.False(s.t, thing.pinned, "dropped what would lose something")
		}
	}
}

// Contract: 42
func TestModel(t *testing.T) {
	// rapid asks a *testing.T for its deadline, which a bubble does not allow.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ *testing.T }{t}, checkModel) })
}

func checkModel(rt *rapid.T) {
	maxMembers := rapid.IntRange(1, 12).Draw(rt, "max")
	keys := rapid.IntRange(1, 3*maxMembers).Draw(rt, "keys")
	s := newMachine(rt, maxMembers)
	rt.Repeat(map[string]func(*rapid.T){
		"get":  func(rt *rapid.T) { s.get(rapid.IntRange(0, keys).Draw(rt, "key")) },
		"pin":  func(rt *rapid.T) { s.pin(rapid.IntRange(0, maxMembers).Draw(rt, "member")) },
		"wait": func(rt *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second) },
	})
}

// newTold is New with somebody to tell of each member that is dropped.
func newTold[T any](keys stability.Keys, create func(policy *T, key string), keyOf func(*T) string, forgettable func(*T) bool, forget func(*T)) *Map[T] {
	m := New(keys, create, keyOf, forgettable)
	m.forget = forget
	return m
}
