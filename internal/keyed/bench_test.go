package keyed

import (
	"math/rand/v2"
	"sync"
	"testing"
)

const manyKeys = 100_000

func keysOf(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "customer-" + key(i)
	}
	return keys
}

func BenchmarkGet(b *testing.B) {
	keys := keysOf(manyKeys)
	m := newThings(Keys{Max: manyKeys})
	for _, k := range keys {
		m.Get(k)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := rand.IntN(manyKeys); pb.Next(); n = (n + 7919) % manyKeys {
			m.Get(keys[n])
		}
	})
}

// BenchmarkSyncMap is what BenchmarkGet is measured against.
func BenchmarkSyncMap(b *testing.B) {
	keys := keysOf(manyKeys)
	var m sync.Map
	for _, k := range keys {
		m.Store(k, &thing{key: k})
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := rand.IntN(manyKeys); pb.Next(); n = (n + 7919) % manyKeys {
			m.Load(keys[n])
		}
	})
}

// BenchmarkEvict is a map at its bound to which only new keys come.
func BenchmarkEvict(b *testing.B) {
	keys := keysOf(2 * manyKeys)
	m := newThings(Keys{Max: manyKeys})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.Get(keys[n%len(keys)])
	}
}

// BenchmarkOverflow is a map at its bound of which nothing can be forgotten.
func BenchmarkOverflow(b *testing.B) {
	keys := keysOf(2 * manyKeys)
	m := newThings(Keys{Max: manyKeys})
	for _, k := range keys[:manyKeys] {
		m.Get(k).pinned = true
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; b.Loop(); n++ {
		m.Get(keys[manyKeys+n%manyKeys])
	}
}
