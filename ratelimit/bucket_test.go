package ratelimit

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
)

// A bucket that tells its rate.Limiter late of the tokens that were taken comes to the
// same as one that tells it each time: it grants the same, and holds as much.
//
// Contract: 23, 26
func TestTellingLateIsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rates := rapid.SampledFrom([]float64{0.3, 7, 1000, 12_345.678, 1e6, 1e9, 1e300})
		bursts := rapid.SampledFrom([]int{1, 2, 5, 100, 5000, maxBurst})
		perSecond, burst := rates.Draw(rt, "rate"), bursts.Draw(rt, "burst")
		var late, soon bucket
		start := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "start"))
		late.init(start, perSecond, burst)
		soon.init(start, perSecond, burst)
		now := start
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 12).Draw(rt, "kind") {
			case 0, 1, 2: // about as long as a few tokens take, or as all of them do
				few := rapid.Float64Range(0, 5).Draw(rt, "few")
				if rapid.IntRange(0, 3).Draw(rt, "all") == 0 {
					few = float64(soon.burst) * rapid.SampledFrom([]float64{0.5, 1, 1.01}).Draw(rt, "share")
				}
				now += time.Duration(min(few/soon.rate*float64(time.Second), float64(time.Hour)))
				late.advance(now)
				soon.advance(now)
			case 3:
				late.setRate(rates.Draw(rt, "new rate"))
				soon.setRate(late.rate)
			case 4:
				to := bursts.Draw(rt, "new burst")
				late.setBurst(to)
				soon.setBurst(to)
			case 5:
				n := int32(rapid.IntRange(0, int(late.burst)).Draw(rt, "give"))
				late.give(n)
				soon.give(n)
			case 6:
				n := int32(rapid.IntRange(1, int(late.burst)).Draw(rt, "lend"))
				left := int32(rapid.IntRange(0, int(n)).Draw(rt, "left"))
				if has := soon.tokens(); math.Abs(has-float64(n)) > 1e-3 && late.lend(n) {
					require.True(rt, soon.lend(n))
					late.reclaim(left)
					soon.reclaim(left)
				}
			default:
				n := int32(rapid.IntRange(1, min(int(late.burst), 8)).Draw(rt, "n"))
				if rapid.IntRange(0, 9).Draw(rt, "most") == 0 {
					n = late.burst
				}
				// At the very boundary the two may round differently.
				if has := soon.tokens(); math.Abs(has-float64(n)) > 1e-3 {
					require.Equal(rt, soon.take(n), late.take(n), "%d of %v", n, has)
				}
			}
			require.Equal(rt, soon.spare, late.spare)
			soon.settle()
			if rapid.IntRange(0, 9).Draw(rt, "look") == 0 {
				require.InDelta(rt, soon.tokens(), late.tokens(), 1e-3)
			}
		}
		require.InDelta(rt, soon.tokens(), late.tokens(), 1e-3)
	})
}

// What is due at an instant can be taken at that instant, also where some of it is
// outside: else an alarm that is set for it rings for ever without the clock moving.
//
// Contract: 26
func TestWhatIsDueCanBeTaken(t *testing.T) {
	rates := []float64{0.3, 1, 3, 7, 10, 100, 1000, 12_345.678, 1e6}
	bursts := []int{2, 5, 40, 100, 5000, maxBurst}
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // To be repeated.
		var b bucket
		b.init(0, rates[rnd.IntN(len(rates))], bursts[rnd.IntN(len(bursts))])
		for range 40 {
			b.advance(b.now + time.Duration(rnd.Float64()*3/b.rate*float64(time.Second)))
			switch rnd.IntN(4) {
			case 0:
				b.take(1 + rnd.Int32N(b.burst))
			case 1:
				if n := 1 + rnd.Int32N(min(b.burst, 64)); b.lend(n) {
					b.reclaim(rnd.Int32N(n + 1))
				}
			default:
				n := 1 + rnd.Int32N(min(b.burst, 100))
				b.advance(b.due(int64(n)))
				require.True(t, b.take(n), "seed %d: %d of %v, %d of them outside", seed, n, b.tokens(), b.spare)
			}
		}
	}
}

// As long as a bucket becomes full from time to time, a grant does not touch its
// rate.Limiter, for which a call for one of many keys would wait.
func TestIdleBucketLeavesItsLimiterAlone(t *testing.T) {
	var b bucket
	b.init(0, 1000, 10)
	b.inside = nil
	for range 100 {
		for range 10 {
			require.True(t, b.take(1))
		}
		b.advance(b.now + 10*time.Millisecond)
		require.True(t, b.full())
	}
}

// What a call touches of a Group's member are two cache lines, which the hardware
// fetches as a pair, and a member is two pairs: with 10⁵ keys no cache has room for
// them, and a call takes as long as its fetches.
func TestMemberLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for 64 bits")
	}
	const pair, head = 128, 24 // head is the keyed.Map's
	var l Limiter
	require.LessOrEqual(t, head+unsafe.Offsetof(l.bucket)+unsafe.Offsetof(l.bucket.inside), uintptr(pair))
	g := NewGroup(Config{Rate: 1}, stability.Keys{})
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		at := uintptr(unsafe.Pointer(g.Get(key)))
		require.EqualValues(t, head, at%pair, "the size of a member is that of no allocation which begins with a line")
	}
	require.LessOrEqual(t, head+unsafe.Sizeof(l)+8+16, uintptr(2*pair), "with what the Map keeps behind it")
}
