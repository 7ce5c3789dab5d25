package antagonist

import (
	"math/rand/v2"
	"sync"
)

// streams keep what is drawn for one purpose apart from what is drawn for
// another, so that adding a server or a fault does not change what others draw.
const (
	streamArrivals uint64 = iota + 1
	streamRequest
	streamService
	streamKey
	streamFault
	streamDial
	streamWorld
)

// mix folds numbers into one, each of its bits depending on all of theirs (the
// finalizer of SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
func mix(parts ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, p := range parts {
		h += p + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// dice is a source of randomness that is set anew for every question, so that
// the answer depends on the question alone and not on what was asked before.
type dice struct {
	pcg  rand.PCG
	rand *rand.Rand
}

func newDice() *dice {
	d := &dice{}
	d.rand = rand.New(&d.pcg)
	return d
}

func (d *dice) of(parts ...uint64) *rand.Rand {
	h := mix(parts...)
	d.pcg.Seed(h, mix(h))
	return d.rand
}

// lockedSource makes a [rand.Rand] safe for use by several goroutines.
type lockedSource struct {
	mu  sync.Mutex
	pcg rand.PCG
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pcg.Uint64()
}
