package flight

import (
	"container/heap"
	"time"
)

// A shelf keeps the last good value of each key, a bounded number of them, for a
// bounded time. What it does costs the logarithm of their number at the most.
type shelf[T any] struct {
	max    int
	maxAge time.Duration
	byKey  map[string]*good[T]
	byAge  byAge[T]
}

type good[T any] struct {
	key   string
	value T
	at    time.Time
	place int // in byAge
}

// expiries is how many values that are too old go at a time.
const expiries = 64

// put keeps a value that was good at that time, unless a later one is there.
func (s *shelf[T]) put(key string, v T, at time.Time) {
	s.expire(time.Now())
	if g, ok := s.byKey[key]; ok {
		if !g.at.After(at) {
			g.value, g.at = v, at
			heap.Fix(&s.byAge, g.place)
		}
		return
	}
	g := &good[T]{key: key, value: v, at: at}
	s.byKey[key] = g
	heap.Push(&s.byAge, g)
	if len(s.byAge) > s.max {
		s.remove(s.byAge[0])
	}
}

// get returns the value of a key and its age, if it is not too old.
func (s *shelf[T]) get(key string, now time.Time) (v T, age time.Duration, ok bool) {
	s.expire(now)
	g, ok := s.byKey[key]
	if !ok || s.tooOld(g, now) {
		return v, 0, false
	}
	return g.value, now.Sub(g.at), true
}

// drop forgets the value of a key, unless it was good after that time.
func (s *shelf[T]) drop(key string, at time.Time) {
	if g, ok := s.byKey[key]; ok && !g.at.After(at) {
		s.remove(g)
	}
}

// bound sets how many values are kept, and for how long.
func (s *shelf[T]) bound(most int, maxAge time.Duration) {
	s.max, s.maxAge = most, maxAge
	for len(s.byAge) > s.max {
		s.remove(s.byAge[0])
	}
}

func (s *shelf[T]) len() int { return len(s.byAge) }

// expire forgets some of what is too old, and reports whether there is more.
func (s *shelf[T]) expire(now time.Time) (more bool) {
	for range expiries {
		if len(s.byAge) == 0 || !s.tooOld(s.byAge[0], now) {
			return false
		}
		s.remove(s.byAge[0])
	}
	return true
}

// tooOld reports whether g is no answer any more. One from the future is of another clock,
// such as that of a test's bubble that is over, and of no age.
func (s *shelf[T]) tooOld(g *good[T], now time.Time) bool {
	age := now.Sub(g.at)
	return age > s.maxAge || age < 0
}

func (s *shelf[T]) remove(g *good[T]) {
	heap.Remove(&s.byAge, g.place)
	delete(s.byKey, g.key)
}

// byAge is a heap with the oldest at the top.
type byAge[T any] []*good[T]

func (b byAge[T]) Len() int           { return len(b) }
func (b byAge[T]) Less(i, j int) bool { return b[i].at.Before(b[j].at) }

func (b byAge[T]) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i, j
}

func (b *byAge[T]) Push(x any) {
	g := x.(*good[T]) //nolint:forcetypeassert // heap.Push is called here alone.
	g.place = len(*b)
	*b = append(*b, g)
}

func (b *byAge[T]) Pop() any {
	last := len(*b) - 1
	g := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return g
}
