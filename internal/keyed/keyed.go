// Package keyed keeps one policy for each key, in bounded memory: the map under
// the Group of every pattern.
package keyed

import (
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"
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
	// overflows is how many members the keys past the bound share, each key one of
	// them, by its hash: what harms one of them spares most of the others.
	overflows = 16
	// walkSteps is how many members All reads at a time with the Map locked.
	walkSteps = 128
)

// OverflowKey is the Key of a member that keys past the bound share.
const OverflowKey = "_overflow"

// Keys bounds a Map. The zero value of a field is its default.
type Keys struct {
	Max     int           // members
	IdleFor time.Duration // that a member is kept which nobody asks for
}

// Members are what a Map has to know of the policies that it keeps. Its functions are
// called with the Map locked.
type Members[T any] struct {
	// Create makes the member of a key out of a zero T, or, with the key
	// OverflowKey, one that keys past the bound share.
	Create func(policy *T, key string, overflow bool)
	// Key returns the key that Create was given.
	Key func(*T) string
	// Blank reports whether dropping the member loses nothing, because a new one would
	// be the same.
	Blank func(*T) bool
	// Harmless reports whether the member may be dropped, whatever it knows, when it was
	// not asked for in Keys.IdleFor: it refuses nothing, and no call is under way. It is
	// true where Blank is. nil: only what is blank may be dropped.
	Harmless func(*T) bool
}

// A Map keeps at most Keys.Max members, and some more that the keys past them share.
//
// Members stand in a ring. A hand goes round as keys come: it takes the mark off a
// member that was asked for since its last visit, and drops one that was not and is
// blank, when the place is needed or nobody has asked for Keys.IdleFor (the clock
// algorithm: Corbató, A Paging Experiment with the Multics System, 1968). When the place
// is needed, it also drops one that nobody has asked for in Keys.IdleFor and that is
// harmless. So Get of a member neither locks nor reads the clock: see ages.
//
// A caller may still hold a member that has been dropped, and begin to use it just
// as another is made for its key; for that moment the key has two. It takes a
// caller that does nothing with a member for as long as the hand needs to come to
// it: a new member stands where the hand comes last, and one that Get returned is
// marked, and passed over while there is an unmarked one to drop.
type Map[T any] struct {
	keys    Keys
	members Members[T]
	forget  func(*T) // for tests: told of each member that is dropped

	table table[T]
	ages  ages

	mu         sync.Mutex
	hand       *member[T] // nil: the ring is empty
	steps      int        // saved for a search
	swept      time.Time  // until when the rounds for age are made
	overflow   [overflows]*T
	overflowed int64
	walks      []*walk[T] // under way
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

	prev, next *member[T] // nil once dropped: who holds a policy holds its member
}

const long = 255 // the size of a key that is not in short

// The state of a member is the age in which it was asked for last, and the mark, which
// says that this was since the hand came by. Get and the hand both change it by
// compare-and-swap, so that either Get marks a member or the hand drops it.
const (
	marked = 1              // the bit beside the number of the age
	gone   = math.MaxUint32 // dropped
)

// New returns an empty Map. keys must be valid; their defaults are applied here.
func New[T any](keys Keys, members Members[T]) *Map[T] {
	if keys.Max == 0 {
		keys.Max = defaultMax
	}
	if keys.IdleFor == 0 {
		keys.IdleFor = defaultIdleFor
	}
	if members.Harmless == nil {
		members.Harmless = members.Blank
	}
	m := &Map[T]{keys: keys, members: members, steps: maxSteps}
	m.table.init(members.Key)
	m.ages.init(keys.IdleFor)
	return m
}

// Get returns the member of key, which it makes if there is none and there is
// room, and else the overflow member that the key shares. It allocates only to make a
// member, and locks only for a key that has none.
func (m *Map[T]) Get(key string) *T {
	if len(key) > maxKey {
		key = Shorten(key)
	}
	hash := m.table.hash(key)
	if e := m.table.find(hash, key); e != nil && m.ask(e) {
		return &e.value
	}
	return m.add(hash, key)
}

// Lookup returns the key's own member, if there is one. It makes none, and does not count
// as asking for it.
func (m *Map[T]) Lookup(key string) (*T, bool) {
	if len(key) > maxKey {
		key = Shorten(key)
	}
	hash := m.table.hash(key)
	e := m.table.find(hash, key)
	if e == nil { // or a write was halfway
		m.mu.Lock()
		e = m.table.find(hash, key)
		m.mu.Unlock()
	}
	if e == nil {
		return nil, false
	}
	return &e.value, true
}

// Overflow returns one of the members that keys past the bound share, always the same.
func (m *Map[T]) Overflow() *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shared(0)
}

// Overflowed returns how often Get found no room for a key.
func (m *Map[T]) Overflowed() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflowed
}

// Len returns how many keys have a member of their own.
func (m *Map[T]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table.len
}

// All returns the members, each once, the overflow members last. It locks the Map for a
// few members at a time: of those that are made or dropped while it is on its way it may
// return some.
func (m *Map[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		w := &walk[T]{}
		m.mu.Lock()
		if m.hand != nil {
			w.next, w.last = m.hand, m.hand.prev
			m.walks = append(m.walks, w)
		}
		overflow := m.overflow
		m.mu.Unlock()
		defer m.leave(w)

		var some []*member[T]
		for {
			some = m.walk(w, some[:0])
			if len(some) == 0 {
				break
			}
			for _, e := range some {
				if !yield(&e.value) {
					return
				}
			}
		}
		for _, o := range overflow {
			if o != nil && !yield(o) {
				return
			}
		}
	}
}

// A walk goes round the ring once. Members keep their order, and new ones come behind the
// hand, so that each is met once.
type walk[T any] struct{ next, last *member[T] } // nil: it is over

// walk adds the next members of w to some.
func (m *Map[T]) walk(w *walk[T], some []*member[T]) []*member[T] {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range walkSteps {
		if w.next == nil {
			break
		}
		some = append(some, w.next)
		w.pass()
	}
	return some
}

func (w *walk[T]) pass() {
	if w.next == w.last {
		w.next, w.last = nil, nil
	} else {
		w.next = w.next.next
	}
}

// dropped keeps w right when e, still in the ring, is about to be dropped.
func (w *walk[T]) dropped(e *member[T]) {
	switch e {
	case w.next:
		w.pass()
	case w.last: // and w.next comes before it
		w.last = e.prev
	}
}

func (m *Map[T]) leave(w *walk[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.walks = slices.DeleteFunc(m.walks, func(other *walk[T]) bool { return other == w })
}

// ask notes that the member was asked for, and reports whether it is still there.
func (m *Map[T]) ask(e *member[T]) bool {
	now := m.ages.now.Load()
	for {
		state := e.state.Load()
		switch {
		case state == now:
			return true
		case state == gone:
			return false
		case e.state.CompareAndSwap(state, now):
			if !m.ages.ticking.Load() {
				m.tick()
			}
			return true
		}
	}
}

// tick begins an age that somebody has asked in.
func (m *Map[T]) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(time.Now())
}

// count counts the present age from now on, unless it is counted already. The caller holds
// mu.
func (m *Map[T]) count(now time.Time) {
	if m.ages.ticking.Load() {
		return
	}
	nth := m.ages.count(now)
	w := weak.Make(m) // the timer keeps no map alive that nobody has any more
	time.AfterFunc(m.ages.length, func() {
		if m := w.Value(); m != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.ages.nth == nth { // else another clock has turned
				m.ages.turn(time.Now())
			}
		}
	})
}

func (m *Map[T]) add(hash uint64, key string) *T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table.find(hash, key); e != nil {
		e.state.Store(m.ages.now.Load())
		m.count(time.Now())
		return &e.value
	}
	now := time.Now()
	m.ages.look(now)
	if !m.makeRoom(now) {
		m.overflowed++
		return m.shared(hash >> 32 % overflows)
	}
	key = strings.Clone(key) // it may be a piece of something large
	e := &member[T]{size: long}
	e.state.Store(m.ages.now.Load() &^ marked)
	if len(key) <= len(e.short) {
		e.size = uint8(copy(e.short[:], key)) //nolint:gosec // At most 19.
	}
	m.members.Create(&e.value, key, false)
	m.link(e)
	m.table.put(hash, e)
	m.count(now)
	return &e.value
}

// shared returns an overflow member. The caller holds mu.
func (m *Map[T]) shared(n uint64) *T {
	if m.overflow[n] == nil {
		overflow := new(T)
		m.members.Create(overflow, OverflowKey, true)
		m.overflow[n] = overflow
	}
	return m.overflow[n]
}

// makeRoom drops what nobody has asked for in too long, and more if need be, and reports
// whether there is room for one more.
func (m *Map[T]) makeRoom(now time.Time) bool {
	m.dropIdle(now)
	if m.table.len < m.keys.Max {
		return true
	}

	m.steps = min(m.steps+searchSteps, maxSteps)
	var spare *member[T] // the first that was marked and is blank
	var state uint32     // of spare
	for range min(m.steps, m.table.len) {
		m.steps--
		e := m.hand
		m.hand = e.next
		was := e.state.Load()
		switch {
		case m.ages.idle(was, now) >= m.keys.IdleFor && m.members.Harmless(&e.value):
			if m.drop(e, was) {
				return true
			}
		case was&marked != 0:
			if e.state.CompareAndSwap(was, was&^marked) && spare == nil && m.members.Blank(&e.value) {
				spare, state = e, was&^marked
			}
		case m.members.Blank(&e.value):
			if m.drop(e, was) {
				return true
			}
		}
	}
	// It may have been asked for, and be in use, since the hand came by.
	return spare != nil && m.members.Blank(&spare.value) && m.drop(spare, state)
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
		e := m.hand
		m.hand = e.next
		was := e.state.Load()
		switch {
		case m.ages.idle(was, now) >= m.keys.IdleFor && m.members.Blank(&e.value) && m.drop(e, was):
			continue
		case was&marked != 0:
			e.state.CompareAndSwap(was, was&^marked)
		}
		steps--
	}
}

// drop drops a member unless it was asked for since it was in that state.
func (m *Map[T]) drop(e *member[T], state uint32) bool {
	if !e.state.CompareAndSwap(state, gone) {
		return false
	}
	for _, w := range m.walks {
		w.dropped(e)
	}
	m.unlink(e)
	m.table.remove(e)
	if m.forget != nil {
		m.forget(&e.value)
	}
	return true
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
