package stripe

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

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
	w := make([]stripe, 1)
	c.wide.Store(&w)
	for i := range 100 {
		require.EqualValues(t, i+1, c.Add(1))
	}
	require.EqualValues(t, 200, c.Load())
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
