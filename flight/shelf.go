package flight

import (
	"container/list"
	"time"
)

// A shelf keeps the last good value of each key, a bounded number of them, for a
// bounded time.
type shelf[T any] struct {
	max    int
	maxAge time.Duration
	byKey  map[string]*list.Element // of a *good[T]
	byAge  list.List                // the oldest at the front
}

type good[T any] struct {
	key   string
	value T
	at    time.Time
}

// put keeps a value that was good at that time, unless a later one is there.
func (s *shelf[T]) put(key string, v T, at time.Time) {
	if e, ok := s.byKey[key]; ok {
		if e.Value.(*good[T]).at.After(at) {
			return
		}
		s.remove(e)
	}
	// Mostly the last place: calls that take longer than others are a little older
	// when they come back.
	after := s.byAge.Back()
	for after != nil && after.Value.(*good[T]).at.After(at) {
		after = after.Prev()
	}
	g := &good[T]{key, v, at}
	if after == nil {
		s.byKey[key] = s.byAge.PushFront(g)
	} else {
		s.byKey[key] = s.byAge.InsertAfter(g, after)
	}
	if s.byAge.Len() > s.max {
		s.remove(s.byAge.Front())
	}
}

// get returns the value of a key and its age, if it is not too old.
func (s *shelf[T]) get(key string, now time.Time) (v T, age time.Duration, ok bool) {
	s.expire(now)
	e, ok := s.byKey[key]
	if !ok {
		return v, 0, false
	}
	g := e.Value.(*good[T])
	return g.value, now.Sub(g.at), true
}

// drop forgets the value of a key, unless it was good after that time.
func (s *shelf[T]) drop(key string, at time.Time) {
	if e, ok := s.byKey[key]; ok && !e.Value.(*good[T]).at.After(at) {
		s.remove(e)
	}
}

// len is how many values are kept that are not too old.
func (s *shelf[T]) len(now time.Time) int {
	s.expire(now)
	return s.byAge.Len()
}

// expire forgets what is too old.
func (s *shelf[T]) expire(now time.Time) {
	for e := s.byAge.Front(); e != nil && now.Sub(e.Value.(*good[T]).at) > s.maxAge; e = s.byAge.Front() {
		s.remove(e)
	}
}

func (s *shelf[T]) remove(e *list.Element) {
	s.byAge.Remove(e)
	delete(s.byKey, e.Value.(*good[T]).key)
}
