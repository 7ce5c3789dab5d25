package hedge

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The reference keeps the latencies themselves and sorts them.
func checkPercentile(t *rapid.T) {
	share := rapid.Float64Range(0.001, 0.999).Draw(t, "share")
	l := &latencies{share: share}
	var all []time.Duration
	latency := rapid.OneOf(
		rapid.Int64Range(0, 100),
		rapid.Int64Range(0, int64(time.Second)),
		rapid.Int64Range(0, math.MaxInt64),
		rapid.SampledFrom([]int64{0, 1, 15, 16, 31, 32, 33, math.MaxInt64}),
	)
	for range rapid.IntRange(0, 30).Draw(t, "runs") {
		d := time.Duration(latency.Draw(t, "latency"))
		for range rapid.IntRange(1, 200).Draw(t, "times") {
			l.add(d)
			all = append(all, d)
		}
		recent := slices.Sorted(slices.Values(all[max(0, len(all)-memory):]))
		exact := recent[max(1, int(math.Ceil(share*float64(len(recent)))))-1]
		got, known := l.percentile()
		require.Equal(t, len(recent) >= enough, known)
		if known {
			require.GreaterOrEqual(t, got, exact)
			require.LessOrEqual(t, float64(got), max(1, float64(exact)*(1+1./16)))
		}
	}
}

func TestLatenciesAgainstModel(t *testing.T) { rapid.Check(t, checkPercentile) }

func FuzzLatencies(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkPercentile)) }

func FuzzBuckets(f *testing.F) {
	for _, d := range []int64{0, 1, 15, 16, 31, 32, 63, 64, math.MaxInt64} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		d := time.Duration(n)
		b := bucketOf(d)
		require.Less(t, int(b), buckets)
		end := upperEnd(int(b))
		require.GreaterOrEqual(t, end, d)
		require.LessOrEqual(t, float64(end), float64(max(d, 0))*(1+1./16))
		if end < math.MaxInt64 {
			require.Equal(t, b+1, bucketOf(end+1), "the next one begins where this one ends")
		}
	})
}

// Contract: 45
func TestLatenciesOfManyGoroutines(t *testing.T) {
	l := &latencies{share: 0.5}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 5000 {
				l.add(time.Duration(i%100) * time.Millisecond)
				l.percentile()
			}
		})
	}
	wg.Wait()
	sum, below := 0, 0
	for b, n := range l.counts {
		sum += int(n)
		if b < l.at {
			below += int(n)
		}
	}
	require.Equal(t, memory, sum)
	require.Equal(t, below, l.below)
}
