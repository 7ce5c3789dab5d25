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
)

// thing is what the tests keep for a key.
type thing struct {
	key       string
	overflow  bool
	pinned    bool // refuses something: not to be dropped
	used      bool // knows something that a new one would not
	forgotten int
}

func (t *thing) name() string { return t.key }

func newThings(keys Keys) *Map[thing] {
	return newTold(keys, Members[thing]{
		Create:   func(t *thing, key string, overflow bool) { t.key, t.overflow = key, overflow },
		Key:      (*thing).name,
		Blank:    func(t *thing) bool { return !t.pinned && !t.used },
		Harmless: func(t *thing) bool { return !t.pinned },
	}, func(t *thing) { t.forgotten++ })
}

// A model is a Map as a slice, for few enough members that the hand may always look
// at all of them. ring[0] is under the hand.
type model struct {
	max      int
	idleFor  time.Duration
	ring     []modelMember
	swept    time.Time
	overflow int // how often there was no room
	ages     []time.Time
	counted  time.Time // since when the present age is; zero: nobody has asked in it
}

type modelMember struct {
	thing  *thing
	marked bool
	age    int // in which it was asked for last
}

// get returns what Map.Get must: the key's member, or nil where it has to be a new
// one, or whether it is an overflow member.
func (m *model) get(key string) (want *thing, overflow bool) {
	length := m.idleFor / agesInIdleFor
	if !m.counted.IsZero() && time.Since(m.counted) >= length {
		m.ages, m.counted = append(m.ages, m.counted.Add(length)), time.Time{}
	}
	for i := range m.ring {
		if e := &m.ring[i]; e.thing.key == key {
			e.marked, e.age = true, m.asked()
			return e.thing, false
		}
	}
	m.dropIdle()
	if len(m.ring) < m.max {
		return nil, false
	}
	// The first that has been idle and is not pinned, or is neither marked nor knows
	// something; failing that, the first that knows nothing.
	var spare *thing
	for range m.max {
		e := m.ring[0]
		m.ring = m.ring[1:]
		blank := !e.thing.pinned && !e.thing.used
		if m.idle(e) && !e.thing.pinned || !e.marked && blank {
			return nil, false
		}
		if spare == nil && blank {
			spare = e.thing
		}
		e.marked = false
		m.ring = append(m.ring, e)
	}
	if spare == nil {
		m.overflow++
		return nil, true
	}
	m.ring = slices.DeleteFunc(m.ring, func(e modelMember) bool { return e.thing == spare })
	return nil, false
}

// made adds what get said has to be made.
func (m *model) made(t *thing) { m.ring = append(m.ring, modelMember{thing: t, age: m.asked()}) }

// asked returns the present age, in which somebody has asked.
func (m *model) asked() int {
	if m.counted.IsZero() {
		m.counted = time.Now()
	}
	return len(m.ages)
}

// idle reports whether it is known that nobody has asked for idleFor.
func (m *model) idle(e modelMember) bool {
	return e.age < len(m.ages) && time.Since(m.ages[e.age]) >= m.idleFor
}

// dropIdle visits as many members as make idleRounds rounds in idleFor.
func (m *model) dropIdle() {
	if len(m.ring) == 0 || time.Since(m.swept) > m.idleFor {
		m.swept = time.Now().Add(-m.idleFor)
	}
	interval := m.idleFor / time.Duration(idleRounds*max(len(m.ring), 1))
	for time.Since(m.swept) >= interval {
		m.swept = m.swept.Add(interval)
		for len(m.ring) > 0 {
			e := m.ring[0]
			m.ring = m.ring[1:]
			if m.idle(e) && !e.thing.pinned && !e.thing.used {
				continue // another for each that went
			}
			e.marked = false
			m.ring = append(m.ring, e)
			break
		}
	}
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
		m:    newThings(Keys{Max: maxMembers, IdleFor: time.Minute}),
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
		require.True(s.t, got.overflow)
		require.Equal(s.t, OverflowKey, got.key)
	case want != nil:
		require.Same(s.t, want, got)
	default:
		require.Equal(s.t, key, got.key)
		require.NotContains(s.t, s.made, got, "a new member")
		s.made = append(s.made, got)
		s.want.made(got)
	}
	s.check()
}

// pin changes whether the n-th member may be dropped.
func (s *machine) pin(n int) {
	if len(s.want.ring) > 0 {
		e := s.want.ring[n%len(s.want.ring)]
		e.thing.pinned = !e.thing.pinned
	}
}

// use changes whether the n-th member would lose something by being dropped.
func (s *machine) use(n int) {
	if len(s.want.ring) > 0 {
		e := s.want.ring[n%len(s.want.ring)]
		e.thing.used = !e.thing.used
	}
}

// wait lets time pass, and timers do what is due.
func (s *machine) wait(seconds int) {
	time.Sleep(time.Duration(seconds) * time.Second)
	synctest.Wait()
}

func (s *machine) check() {
	kept := map[*thing]bool{}
	for got := range s.m.All() {
		require.False(s.t, kept[got], "twice in All")
		kept[got] = true
	}
	for _, e := range s.want.ring {
		require.Contains(s.t, kept, e.thing)
		require.Zero(s.t, e.thing.forgotten)
	}
	require.Equal(s.t, len(s.want.ring), s.m.Len())
	require.EqualValues(s.t, s.want.overflow, s.m.Overflowed())
	for _, thing := range s.made {
		own, ok := s.m.Lookup(thing.key)
		require.Equal(s.t, kept[thing], ok && own == thing)
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
		"use":  func(rt *rapid.T) { s.use(rapid.IntRange(0, maxMembers).Draw(rt, "member")) },
		"wait": func(rt *rapid.T) { s.wait(rapid.IntRange(1, 90).Draw(rt, "seconds")) },
	})
}

// newTold is New with somebody to tell of each member that is dropped.
func newTold[T any](keys Keys, members Members[T], forget func(*T)) *Map[T] {
	m := New(keys, members)
	m.forget = forget
	return m
}
