package antagonist

import "container/heap"

// An event is something the run does at an instant, counted in nanoseconds from
// its start.
type event struct {
	at  int64
	seq uint64
	do  func()
}

// events are what is to come, earliest first; at the same instant, in the order
// in which they were added.
type events struct {
	list []event
	seq  uint64
}

func (e *events) add(at int64, do func()) {
	e.seq++
	heap.Push(e, event{at, e.seq, do})
}

func (e *events) first() (at int64, ok bool) {
	if len(e.list) == 0 {
		return 0, false
	}
	return e.list[0].at, true
}

func (e *events) remove() event { return heap.Pop(e).(event) }

// Len, Less, Swap, Push and Pop make the list a heap.
func (e *events) Len() int { return len(e.list) }

func (e *events) Less(i, j int) bool {
	a, b := &e.list[i], &e.list[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

func (e *events) Swap(i, j int) { e.list[i], e.list[j] = e.list[j], e.list[i] }

func (e *events) Push(x any) { e.list = append(e.list, x.(event)) }

func (e *events) Pop() any {
	last := len(e.list) - 1
	x := e.list[last]
	e.list[last] = event{}
	e.list = e.list[:last]
	return x
}

// instants hands out nanoseconds at which the run lets a goroutine of the code
// under test go on: an arrival, an answer. Goroutines that wake at the same
// instant run in any order, and what they do to a shared policy would depend on
// it. So no two get the same one.
//
// Nor do two get the same nanosecond within the millisecond, as far as instants
// handed out lately go. Timeouts and backoffs of the code under test are mostly
// whole milliseconds counted from one of these instants; their ends, too, then
// never coincide with those of another request.
type instants struct {
	taken, before [phases / 64]uint64
	n             int
}

const (
	phases     = 1_000_000  // nanoseconds in a millisecond, a multiple of 64
	generation = phases / 4 // instants after which the oldest may be used again
)

// take returns the first free instant that is not before at.
func (i *instants) take(at int64) int64 { return i.search(at, 1) }

// takeBefore returns the last free instant before at.
func (i *instants) takeBefore(at int64) int64 { return i.search(at-1, -1) }

func (i *instants) search(at, step int64) int64 {
	if i.n++; i.n > generation {
		i.n, i.before, i.taken = 1, i.taken, [phases / 64]uint64{}
	}
	for {
		phase := (at%phases + phases) % phases
		word, bit := phase/64, uint64(1)<<(phase%64)
		if (i.taken[word]|i.before[word])&bit == 0 {
			i.taken[word] |= bit
			return at
		}
		at += step
	}
}
