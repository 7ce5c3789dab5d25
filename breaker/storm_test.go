package breaker_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// A hundred thousand calls that end in every way, and some hands on the switches: at
// rest nothing is under way, nothing was counted twice or not at all, no change was
// told twice or out of order, and the breaker recovers.
//
// Contract: 1, 2, 3, 10, 12, 44
func TestStorm(t *testing.T) {
	for name, cfg := range map[string]breaker.Config{
		"plain":   {},
		"watched": {SlowCall: 30 * time.Millisecond, SlowRatio: 0.5, Classify: stability.Classify},
		"ramping": {RampFor: 300 * time.Millisecond},
		"observe": {Observe: true},
		"jitter": {Jitter: func(longest time.Duration) time.Duration {
			time.Sleep(rand.N(60 * time.Millisecond))
			if rand.IntN(4) == 0 {
				panic(breaker.Change{})
			}
			return rand.N(2 * longest)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, cfg) })
		})
	}
}

func storm(t *testing.T, cfg breaker.Config) {
	cfg.Consecutive, cfg.MinCalls, cfg.Window = 10, 50, 500*time.Millisecond
	cfg.OpenFor, cfg.MaxOpenFor = 50*time.Millisecond, 200*time.Millisecond
	cfg.Probes, cfg.ProbeFor = 3, 20*time.Millisecond
	var changes []breaker.Change // no lock: they are told one at a time
	cfg.OnChange = func(c breaker.Change) {
		changes = append(changes, c)
		if len(changes)%10 == 0 {
			panic(c)
		}
	}
	b := breaker.New(cfg)

	const goroutines, each = 2500, 10
	var asked, began, thrown atomic.Int64
	call := func(goexit func()) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer func() {
			if _, ok := recover().(breaker.Change); ok {
				thrown.Add(1)
			}
		}()
		_ = b.Run(ctx, func(ctx context.Context) error {
			began.Add(1)
			time.Sleep(rand.N(40 * time.Millisecond))
			switch rand.IntN(10) {
			case 0:
				panic(errCall)
			case 1:
				goexit()
			case 2:
				cancel()
				return ctx.Err()
			case 3:
				return &stability.Rejection{Policy: "inner"}
			case 4, 5:
				return errCall
			}
			return nil
		})
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				time.Sleep(rand.N(500 * time.Millisecond))
				asked.Add(1)
				exit(call)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 30 {
				time.Sleep(rand.N(100 * time.Millisecond))
				func() {
					defer func() { _ = recover() }()
					[]func(){b.ForceOpen, b.ForceClosed, b.Auto, b.Reset, b.Auto, b.Auto}[rand.IntN(6)]()
				}()
			}
		})
	}
	wg.Wait()

	stats := b.Stats()
	require.Zero(t, stats.Probing)
	require.Equal(t, began.Load(), stats.Started())
	// A call whose goroutine told of a change may have got the panic in place of its
	// refusal, or of its own start.
	missing := asked.Load() - stats.Started() - stats.Rejected
	require.GreaterOrEqual(t, missing, int64(0))
	require.LessOrEqual(t, missing, thrown.Load())
	requireAlternating(t, changes)
	require.NotEmpty(t, changes)

	func() {
		defer func() { _ = recover() }()
		b.Auto()
	}()
	for range 1000 {
		func() {
			defer func() { _ = recover() }()
			_ = b.Run(t.Context(), ok)
		}()
		time.Sleep(10 * time.Millisecond)
	}
	require.Equal(t, breaker.Closed, b.State())
	require.NoError(t, b.Run(t.Context(), ok))
}
