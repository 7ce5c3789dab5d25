// Package keyed keeps one policy for each key, in bounded memory: the map under
// the Group of every pattern.
package keyed

import (
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
)

const (
	defaultMax     = 1024
	defaultIdleFor = 15 * time.Minute

	// Each key that finds no room lets the hand look at searchSteps members. What
	// it does not use up is saved, to at most maxSteps: the first such key may look
	// at all of 4096 members, and however many come while nothing can be forgotten,
	// each costs searchSteps.
	searchSteps = 16
	maxSteps    = 4096
	// While keys come at all, the hand makes idleRounds rounds in Keys.IdleFor for
	// members to drop for their age, at most maxSteps for a key.
	idleRounds = 2
)

// A Map keeps at most Keys.Max members, and one more that the keys past them share.
//
// Members stand in a ring. A hand goes round as keys come: it takes the mark off a
// member that was asked for since its last visit, and drops one that was not, if
// that loses nothing, when the place is needed or the member has been quiet for
// Keys.IdleFor (the clock algorithm: Corbató, A Paging Experiment with the Multics
// System, 1968). So Get of a member neither locks nor reads the clock, and nothing
// runs in the background.
//
// A caller may still hold a member that has been dropped, and begin to use it just
// as another is made for its key; for that moment the key has two. It takes a
// caller that does nothing with a member for as long as the hand needs to come to
// it: a new member stands where the hand comes last, and one that Get returned is
// marked, and passed over while there is an unmarked one to drop.
type Map[T any] struct {
	keys        stability.Keys
	create      func(policy *T, key string)
	forgettable func(*T) bool
	forget      func(*T) // for tests: told of each member that is dropped
	made        time.Time

	table table[T]

	mu       sync.Mutex
	hand     *member[T] // nil: the ring is empty
	steps    int        // saved for a search
	swept    time.Time  // until when the rounds for age are made
	overflow *T
}

// A member is a key's policy and its place in the ring. They are one allocation, and
// what Get touches comes first, the key itself if it is short: there is room for few of
// many members in any cache, and a Get of one of them is to wait for memory only once.
// What calls touch should come first in T.
type member[T any] struct {
	state atomic.Uint32
	size  uint8    // of the key, or long
	short [19]byte // the key, unless it is long
	value T

	quietSince time.Duration // since the Map was made
	prev, next *member[T]    // nil once dropped: who holds a policy holds its member
}

const long = 255 // the size of a key that is not in short

// The states of a member. Get and the hand both change them by compare-and-swap, so
// that either Get marks a member or the hand drops it.
const (
	quiet  = iota // not asked for since the hand came by
	marked        // asked for
	gone          // dropped
)

// mark notes that the member was asked for, and reports whether it is still there.
func (e *member[T]) mark() bool {
	return e.state.Load() == marked || e.state.CompareAndSwap(quiet, marked) || e.state.Load() == marked
}

// New returns an empty Map. keys must be valid; their defaults are applied here.
//
// create makes the member of a key out of a zero T; keyOf returns that key; forgettable
// tells whether dropping a member loses nothing. create and forgettable are called with
// the Map locked.
func New[T any](keys stability.Keys, create func(policy *T, key string), keyOf func(*T) string, forgettable func(*T) bool) *Map[T] {
	if keys.Max == 0 {
		keys.Max = defaultMax
	}
	if keys.IdleFor == 0 {
		keys.IdleFor = defaultIdleFor
	}
	m := &Map[T]{keys: keys, create: create, forgettable: forgettable, made: time.Now(), steps: maxSteps}
	m.table.init(keyOf)
	return m
}

// Get returns the member of key, which it makes if there is none and there is
// room, and else the overflow member. It allocates only to make a member, and
// locks only for a key that has none.
func (m *Map[T]) Get(key string) *T {
	hash := m.table.hash(key)
	if e := m.table.find(hash, key); e != nil && e.mark() {
		return &e.value
	}
	return m.add(hash, key)
}

// All returns the members of the moment in no order, the overflow member last.
func (m *Map[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		m.mu.Lock()
		members, overflow := m.table.members(), m.overflow
		m.mu.Unlock()
		for _, e := range members {
			if !yield(&e.value) {
				return
			}
		}
		if overflow != nil {
			yield(overflow)
		}
	}
}

// Len returns how many members there are, the overflow member included.
func (m *Map[T]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.overflow != nil {
		return m.table.len + 1
	}
	return m.table.len
}

func (m *Map[T]) add(hash uint64, key string) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table.find(hash, key); e != nil {
		e.mark()
		return &e.value
	}
	now := time.Now()
	if key == stability.OverflowKey || !m.makeRoom(now) {
		if m.overflow == nil {
			overflow := new(T)
			m.create(overflow, stability.OverflowKey)
			m.overflow = overflow
		}
		return m.overflow
	}
	key = strings.Clone(key) // it may be a piece of something large
	e := &member[T]{size: long, quietSince: now.Sub(m.made)}
	if len(key) <= len(e.short) {
		e.size = uint8(copy(e.short[:], key)) //nolint:gosec // At most 19.
	}
	m.create(&e.value, key)
	m.link(e)
	m.table.put(hash, e)
	return &e.value
}

// makeRoom drops what has been quiet for too long, and more if need be, and reports
// whether there is room for one more.
func (m *Map[T]) makeRoom(now time.Time) bool {
	m.dropIdle(now)
	if m.table.len < m.keys.Max {
		return true
	}

	m.steps = min(m.steps+searchSteps, maxSteps)
	var spare *member[T] // the first that was marked and loses nothing
	for range min(m.steps, m.table.len) {
		m.steps--
		e := m.hand
		switch m.visit(now, 0) {
		case dropped:
			return true
		case unmarked:
			if spare == nil && m.forgettable(&e.value) {
				spare = e
			}
		}
	}
	// It may have been asked for, and be in use, since the hand came by.
	if spare == nil || !m.forgettable(&spare.value) || !spare.state.CompareAndSwap(quiet, gone) {
		return false
	}
	m.drop(spare)
	return true
}

func (m *Map[T]) dropIdle(now time.Time) {
	if m.table.len == 0 || now.Sub(m.swept) > m.keys.IdleFor {
		m.swept = now.Add(-m.keys.IdleFor)
	}
	interval := max(m.keys.IdleFor/time.Duration(idleRounds*max(m.table.len, 1)), 1)
	steps := min(now.Sub(m.swept)/interval, maxSteps)
	m.swept = m.swept.Add(steps * interval)
	// A drop is paid for by the key that made the member.
	for most := maxSteps; steps > 0 && most > 0 && m.hand != nil; most-- {
		if m.visit(now, m.keys.IdleFor) != dropped {
			steps--
		}
	}
}

// What a visit does.
type visited uint8

const (
	left visited = iota
	unmarked
	dropped
)

// visit moves the hand on. It takes the mark off the member that the hand leaves,
// or drops it if it has been quiet for so long and loses nothing.
func (m *Map[T]) visit(now time.Time, idleFor time.Duration) visited {
	e := m.hand
	m.hand = e.next
	if e.state.CompareAndSwap(marked, quiet) {
		e.quietSince = now.Sub(m.made)
		return unmarked
	}
	if now.Sub(m.made)-e.quietSince < idleFor || !m.forgettable(&e.value) || !e.state.CompareAndSwap(quiet, gone) {
		return left
	}
	m.drop(e)
	return dropped
}

func (m *Map[T]) drop(e *member[T]) {
	m.unlink(e)
	m.table.remove(e)
	if m.forget != nil {
		m.forget(&e.value)
	}
}

// link puts e right behind the hand, which comes to it last.
func (m *Map[T]) link(e *member[T]) {
	if m.hand == nil {
		m.hand, e.prev, e.next = e, e, e
		return
	}
	e.prev, e.next = m.hand.prev, m.hand
	e.prev.next, e.next.prev = e, e
}

func (m *Map[T]) unlink(e *member[T]) {
	if m.hand == e {
		m.hand = e.next
	}
	if m.hand == e { // the only one
		m.hand = nil
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
