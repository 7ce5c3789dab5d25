package retry

import (
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Contract: 27
func FuzzPause(f *testing.F) {
	f.Add(1, int64(50*time.Millisecond), int64(2*time.Second), int64(0), int64(0))
	f.Add(math.MaxInt, int64(1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(63, int64(1), int64(math.MaxInt64), int64(0), int64(-1))
	f.Add(64, int64(math.MaxInt64), int64(math.MaxInt64), int64(1), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, attempt int, base, limit, asked, jitter int64) {
		cfg := Config{Base: time.Duration(base), Max: time.Duration(limit)}
		if cfg.Validate() != nil || attempt < 1 || asked < 0 {
			return
		}
		cfg = cfg.withDefaults()
		got := longestPause(cfg.Base, cfg.Max, attempt)
		exact := new(big.Int).Lsh(big.NewInt(int64(cfg.Base)), uint(min(attempt-1, 200)))
		if most := big.NewInt(int64(cfg.Max)); exact.Cmp(most) > 0 {
			exact = most
		}
		require.Equal(t, exact.Int64(), int64(got), "base doubled attempt-1 times, up to Max")

		for _, j := range []func(time.Duration) time.Duration{nil, func(time.Duration) time.Duration { return time.Duration(jitter) }} {
			cfg.Jitter = j
			own := cfg.pause(attempt, 0, forever)
			require.GreaterOrEqual(t, own, time.Duration(0))
			require.LessOrEqual(t, own, cfg.Max)
			asked := time.Duration(asked)
			told := cfg.pause(attempt, asked, forever)
			require.GreaterOrEqual(t, told, asked, "what was asked for is a floor")
			if asked < (forever-got)/2 {
				require.LessOrEqual(t, told, asked+got+asked/2)
				require.LessOrEqual(t, told, max(asked+got, cfg.MaxPushback))
			}
			left := time.Duration(jitter)
			if told := cfg.pause(attempt, asked, left); asked > 0 && asked < left && left < forever {
				require.LessOrEqual(t, told, asked+(left-asked)/2, "with time left for the attempt")
				require.GreaterOrEqual(t, told, asked)
			}
		}
	})
}

// Full jitter: all of 0 to the longest pause, evenly.
//
// Contract: 27
func TestPauseIsFullyJittered(t *testing.T) {
	cfg := Config{Base: 99, Max: 99}
	const draws = 100_000
	var counts [100]int
	for range draws {
		counts[cfg.pause(1, 0, forever)]++
	}
	// χ² with 99 degrees of freedom: above 190 less than once in ten million.
	chi := 0.0
	for _, n := range counts {
		chi += float64(n-1000) * float64(n-1000) / 1000
	}
	require.Less(t, chi, 190.0)
}

// Contract: 41
func FuzzBudgetConfig(f *testing.F) {
	f.Add(0.2, 1.0, int64(10*time.Second), uint16(1000))
	f.Add(math.Inf(1), math.NaN(), int64(-1), uint16(0))
	f.Add(100.0, 1e6, int64(math.MaxInt64), uint16(math.MaxUint16))
	f.Fuzz(func(t *testing.T, ratio, floor float64, window int64, calls uint16) {
		cfg := BudgetConfig{Ratio: ratio, MinPerSecond: floor, Window: time.Duration(window)}
		if cfg.Validate() != nil {
			require.Panics(t, func() { NewBudget(cfg) })
			return
		}
		b := NewBudget(cfg)
		for range calls {
			b.earn(nil)
		}
		limit := b.Stats().Limit
		require.GreaterOrEqual(t, limit, int64(0))
		for range min(limit, 1000) {
			require.True(t, b.Spend())
		}
		if limit < 1000 && cfg.Window > time.Hour { // the clock stands still meanwhile
			require.False(t, b.Spend())
		}
	})
}
