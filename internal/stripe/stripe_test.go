package stripe

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func newWide(width int) *Counter {
	var c Counter
	widen(&c, width)
	return &c
}

func widen(c *Counter, width int) {
	w := make([]stripe, width)
	c.wide.Store(&w)
}

func TestEveryAddIsCountedOnce(t *testing.T) {
	var c Counter
	const goroutines, each = 64, 10_000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				c.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, goroutines*each, c.Load())
}

// The step from one word to many is taken while others add to the one word, and want
// to take it too.
func TestNothingIsLostWhileItWidens(t *testing.T) {
	const goroutines, each = 8, 10
	for range 5000 {
		var c Counter
		var ready atomic.Int32
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for ready.Add(1); ready.Load() < goroutines; {
					runtime.Gosched()
				}
				for range each {
					c.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, goroutines*each, c.Load())
	}
}

func TestAddReturnsTheCountOfItsWord(t *testing.T) {
	var c Counter
	for i := range 100 {
		require.EqualValues(t, i+1, c.Add(1))
	}
	widen(&c, 1)
	for i := range 100 {
		require.EqualValues(t, i+1, c.Add(1))
	}
	require.EqualValues(t, 200, c.Load())
}

// Goroutines move all the time here: each by itself between its additions, and moved
// by others in the middle of one.
func TestNothingIsLostOrCountedTwiceWhileGoroutinesMove(t *testing.T) {
	const goroutines, each = 8, 20_000
	c := newWide(Width())
	stop := make(chan struct{})
	var movers, adders sync.WaitGroup
	for range 2 {
		movers.Go(func() {
			for page := uint32(0); ; page++ {
				select {
				case <-stop:
					return
				default:
					move(page)
				}
			}
		})
	}
	movers.Go(func() {
		last := int64(0)
		for last < goroutines*each {
			n := c.Load()
			if n < last || n > goroutines*each {
				t.Errorf("read %d after %d", n, last)
				return
			}
			last = n
		}
	})
	for range goroutines {
		adders.Go(func() {
			for i := range each {
				c.Add(1)
				if i%16 == 0 {
					move(here())
				}
			}
		})
	}
	adders.Wait()
	close(stop)
	movers.Wait()
	require.EqualValues(t, goroutines*each, c.Load())
	used := 0
	for i := range *c.wide.Load() {
		if (*c.wide.Load())[i].n.Load() > 0 {
			used++
		}
	}
	require.Equal(t, Width(), used, "nobody has moved")
}

// Of Width()+1 goroutines two share a stripe. They add in turns, one at a time, until
// one of them has moved.
func TestGoroutinesThatShareAStripeComeApart(t *testing.T) {
	c := newWide(Width())
	stripes := *c.wide.Load()
	type adder struct {
		turn chan struct{}
		used chan int // the stripe that it used
	}
	add := func(a adder) int {
		a.turn <- struct{}{}
		return <-a.used
	}
	var adders [2]adder
	seen := map[int]adder{}
	for adders[1].turn == nil {
		a := adder{make(chan struct{}), make(chan int)}
		defer close(a.turn)
		go func() {
			for range a.turn {
				var before [256]int64
				for i := range stripes {
					before[i] = stripes[i].n.Load()
				}
				c.Add(1)
				for i := range stripes {
					if stripes[i].n.Load() != before[i] {
						a.used <- i
						break // others may add from now on
					}
				}
			}
		}()
		i := add(a)
		if other, ok := seen[i]; ok {
			adders = [2]adder{a, other}
		}
		seen[i] = a
	}
	// A move ends on the same stripe once in Width() times, and twenty times running
	// never.
	for range 20 * mostHandovers * lookEvery {
		if add(adders[0]) != add(adders[1]) {
			return
		}
	}
	t.Fatal("they still share it")
}

func TestPagesThatCollideComeApart(t *testing.T) {
	distances := []uint32{1, places + 1}
	for i := range uint32(100) {
		distances = append(distances, (i+1)*places) // of one salt
	}
	for _, distance := range distances {
		for _, width := range []int{4, 8, 128} {
			for page := uint32(1); page < 100; page++ {
				var s stripe
				for range 20 * mostHandovers {
					if pick(page, width) != pick(page+distance, width) {
						break
					}
					s.look(page)
					s.look(page + distance)
				}
				require.NotEqual(t, pick(page, width), pick(page+distance, width),
					"pages %d and %d, width %d", page, page+distance, width)
			}
		}
	}
}

func TestOneAloneStays(t *testing.T) {
	var s stripe
	const page = 1
	salt := salts.of[page].Load()
	for range 10 * mostHandovers {
		s.look(page)
	}
	require.Equal(t, salt, salts.of[page].Load())
}

// With more goroutines than stripes some always share one.
func TestMovesAreFewWhereThereIsNoWayApart(t *testing.T) {
	c := newWide(1)
	s := &(*c.wide.Load())[0]
	const looks = 1 << 20
	moves, last := 0, [places]uint32{}
	for page := range last {
		last[page] = salts.of[page].Load()
	}
	for i := range uint32(looks) {
		page := i % places
		s.look(page)
		if salt := salts.of[page].Load(); salt != last[page] {
			moves++
			last[page] = salt
		}
	}
	require.LessOrEqual(t, moves, looks/mostHandovers+6)
	require.Greater(t, moves, looks/mostHandovers/2, "they still try")
}

func TestReadingsNeverFall(t *testing.T) {
	var c Counter
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.Add(1)
				}
			}
		})
	}
	last := int64(0)
	for range 10_000 {
		n := c.Load()
		if n < last {
			t.Fatalf("read %d after %d", n, last)
		}
		last = n
	}
	close(stop)
	wg.Wait()
}

func TestIdleCounterIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Counter{}), uintptr(16))
	var c Counter
	for range 1000 {
		c.Add(1)
	}
	require.Nil(t, c.wide.Load(), "one goroutine alone does not widen it")
}

func TestStripesSpread(t *testing.T) {
	const goroutines = 256
	w := Width()
	require.GreaterOrEqual(t, w, runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	used := map[int]int{}
	var ready, wg sync.WaitGroup
	ready.Add(goroutines)
	for range goroutines {
		wg.Go(func() {
			ready.Done()
			ready.Wait() // all stacks exist at the same time
			i := Pick(w)
			mu.Lock()
			used[i]++
			mu.Unlock()
		})
	}
	wg.Wait()
	require.Greater(t, len(used), w/2, "goroutines crowd on few stripes: %v", used)
}

func BenchmarkAdd(b *testing.B) {
	var c Counter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add(1)
		}
	})
}

// What one goroutine alone pays for a counter that others have made wide.
func BenchmarkAddAlone(b *testing.B) {
	c := newWide(Width())
	for b.Loop() {
		c.Add(1)
	}
}

// New goroutines at a new counter, again and again: the mean over the stripes that
// they happen to begin on, shared or not.
func BenchmarkAddFromNewGoroutines(b *testing.B) {
	goroutines := runtime.GOMAXPROCS(0)
	const each = 100_000
	for b.Loop() {
		var c Counter
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					c.Add(1)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*goroutines*each), "ns/add")
}
