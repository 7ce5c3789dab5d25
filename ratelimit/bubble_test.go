package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/ratelimit"
)

// A limiter in a package variable, which a test uses in a bubble, ended the process with
// "reset of synctest timer from outside bubble" as soon as somebody waited for a token, and
// where nobody waited it had no token for 26 years: the clock of a bubble begins in the
// year 2000. Whatever state it is in, tokens come under each clock at the rate.
//
// Contract: 55
func TestLimiterAcrossBubbles(t *testing.T) {
	const burst, rate = 160, 1000
	exhaust := func(t testing.TB, l *ratelimit.Limiter) {
		for !errors.Is(l.Run(t.Context(), ok), ratelimit.ErrLimited) {
			continue
		}
	}
	uses := func(t testing.TB, l *ratelimit.Limiter) {
		exhaust(t, l)
		for range 3 { // the alarm is set anew, and goes off
			require.NoError(t, l.WaitN(t.Context(), 20))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, l.Wait(short))
		time.Sleep(burst*time.Second/rate + 20*time.Millisecond)
		require.InDelta(t, burst, l.Stats().Tokens, 0, "it fills up")
		for range burst { // with leases
			require.True(t, l.Allow())
		}
	}
	for name, bring := range map[string]func(testing.TB, *ratelimit.Limiter){
		"full":  func(testing.TB, *ratelimit.Limiter) {},
		"empty": func(t testing.TB, l *ratelimit.Limiter) { require.True(t, l.AllowN(burst)) },
		"refusing": func(t testing.TB, l *ratelimit.Limiter) {
			require.True(t, l.AllowN(burst))
			exhaust(t, l)
		},
		"lent out": func(t testing.TB, l *ratelimit.Limiter) {
			for range burst / 4 {
				require.True(t, l.Allow())
			}
		},
		"used for a while": uses,
		"with an alarm that is off again": func(t testing.TB, l *ratelimit.Limiter) {
			require.True(t, l.AllowN(burst))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
			defer cancel()
			_ = l.WaitN(ctx, 20)
			require.NoError(t, l.WaitN(t.Context(), 20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.AcrossBubbles(t, func(t testing.TB) *ratelimit.Limiter {
				l := ratelimit.New(ratelimit.Config{Rate: rate, Burst: burst})
				bring(t, l)
				return l
			}, uses)
		})
	}
}

// Between one clock and the next nothing is granted that is not there.
//
// Contract: 23, 55
func TestAnotherClockMintsNoTokens(t *testing.T) {
	policytest.AcrossBubbles(t, func(t testing.TB) *ratelimit.Limiter {
		l := ratelimit.New(ratelimit.Config{Rate: 1e-3, Burst: 40})
		time.Sleep(time.Millisecond)
		require.True(t, l.AllowN(30))
		return l
	}, func(t testing.TB, l *ratelimit.Limiter) {
		require.False(t, l.AllowN(41))
		for l.Allow() {
			continue
		}
		require.Less(t, l.Stats().Tokens, 1.0)
		require.Greater(t, stability.RetryAfter(l.Run(t.Context(), ok)), 900*time.Second)
	})
}

// A group in a package variable: members are made, found, and forgotten for new keys, under
// each clock.
//
// Contract: 55
func TestGroupAcrossBubbles(t *testing.T) {
	use := func(t testing.TB, g *ratelimit.Group) {
		for _, key := range []string{"a", "b", "c", "d"} {
			for g.Get(key).Allow() {
				continue
			}
			require.NoError(t, g.Get(key).Wait(t.Context()))
		}
		time.Sleep(50 * time.Millisecond) // longer than IdleFor, and until all are full
		before := g.Stats().Overflowed
		for _, key := range []string{"e", "f"} {
			require.True(t, g.Get(key).Allow())
		}
		require.Equal(t, before, g.Stats().Overflowed, "those nobody asks for make room")
	}
	policytest.AcrossBubbles(t, func(t testing.TB) *ratelimit.Group {
		g := ratelimit.NewGroup(ratelimit.Config{Rate: 100, Burst: 3}, stability.Keys{Max: 2, IdleFor: 10 * time.Millisecond})
		use(t, g)
		return g
	}, use)
}
