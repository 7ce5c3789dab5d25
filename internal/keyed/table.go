package keyed

import (
	"hash/maphash"
	"sync/atomic"
)

// minSlots is the size of an empty table, a power of two as all sizes are.
const minSlots = 16

// A table finds members by key: open addressing with linear probing, at most four
// fifths full. One goroutine at a time writes, and any number read without a lock.
//
// A reader may meet a write halfway and not find a member that is there; it then
// looks again under the writer's lock. It never finds the wrong one, because what it
// finds has the key it looked for. So a removal can move members back into the gap
// (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm R), and no
// tombstones gather.
type table[T any] struct {
	seed  maphash.Seed
	keyOf func(*T) string
	slots atomic.Pointer[[]slot[T]]
	len   int // of the writer
}

// A slot is empty while member is nil. The hash is that of the member's key, which
// saves readers from following the pointers of others, and the writer from following
// any; a hash that is not the member's, in the middle of a write, costs only a second
// look.
type slot[T any] struct {
	hash   atomic.Uint64
	member atomic.Pointer[member[T]]
}

func (t *table[T]) init(keyOf func(*T) string) {
	t.seed, t.keyOf = maphash.MakeSeed(), keyOf
	slots := make([]slot[T], minSlots)
	t.slots.Store(&slots)
}

// hash depends on a seed, so that nobody can choose keys that collide.
func (t *table[T]) hash(key string) uint64 { return maphash.String(t.seed, key) }

func (t *table[T]) find(hash uint64, key string) *member[T] {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1) //nolint:gosec // Never empty.
	// Some slots are empty. The count is for a reader whom writes keep moving ahead of.
	for i := range uint64(len(slots)) {
		s := &slots[(hash+i)&mask]
		if s.hash.Load() != hash {
			if s.member.Load() == nil {
				return nil
			}
			continue
		}
		e := s.member.Load()
		if e == nil {
			return nil
		}
		if t.is(e, key) {
			return e
		}
	}
	return nil
}

func (t *table[T]) is(e *member[T], key string) bool {
	if len(key) <= len(e.short) {
		return len(key) == int(e.size) && key == string(e.short[:e.size])
	}
	return key == t.keyOf(&e.value)
}

func (t *table[T]) put(hash uint64, e *member[T]) {
	t.len++
	if slots := *t.slots.Load(); 5*t.len > 4*len(slots) {
		t.resize(2 * len(slots))
	}
	place(*t.slots.Load(), hash, e)
}

func place[T any](slots []slot[T], hash uint64, e *member[T]) {
	mask := uint64(len(slots) - 1) //nolint:gosec // Never empty.
	i := hash & mask
	for slots[i].member.Load() != nil {
		i = (i + 1) & mask
	}
	slots[i].set(hash, e)
}

func (s *slot[T]) set(hash uint64, e *member[T]) {
	s.member.Store(e)
	s.hash.Store(hash)
}

func (t *table[T]) remove(e *member[T]) {
	slots := *t.slots.Load()
	mask := uint64(len(slots) - 1) //nolint:gosec // Never empty.
	gap := t.hash(t.keyOf(&e.value)) & mask
	for slots[gap].member.Load() != e {
		gap = (gap + 1) & mask
	}
	for i := gap; ; {
		i = (i + 1) & mask
		next := slots[i].member.Load()
		if next == nil {
			break
		}
		hash := slots[i].hash.Load()
		// next may fill the gap if that is no further from its home than it is.
		if home := hash & mask; (i-home)&mask >= (i-gap)&mask {
			slots[gap].set(hash, next)
			gap = i
		}
	}
	slots[gap].member.Store(nil)
	t.len--
	if len(slots) > minSlots && 8*t.len < len(slots) {
		t.resize(len(slots) / 2)
	}
}

// resize moves the members to a new array. Readers of the old one still find what
// was there.
func (t *table[T]) resize(n int) {
	slots, old := make([]slot[T], n), *t.slots.Load()
	for i := range old {
		if e := old[i].member.Load(); e != nil {
			place(slots, old[i].hash.Load(), e)
		}
	}
	t.slots.Store(&slots)
}
