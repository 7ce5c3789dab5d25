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

// A hundred thousand calls that end in every way, are answered before, and make others,
// and some hands on the switches: at rest nothing is under way, nothing was counted twice
// or not at all, no change was told twice or out of order, and the breaker recovers.
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
	// stream is a call that is answered before it ends, or not, and makes others in its
	// course, and afterwards.
	stream := func(goexit func()) {
		safely := func(f func()) {
			defer func() {
				if _, ok := recover().(breaker.Change); ok {
					thrown.Add(1)
				}
			}()
			f()
		}
		var pass *stability.Pass
		safely(func() { pass, _ = b.Enter(context.Background()) })
		if pass == nil {
			return
		}
		began.Add(1)
		inner := func() {
			asked.Add(1)
			_ = b.Run(pass.Context(), func(context.Context) error {
				began.Add(1)
				time.Sleep(rand.N(10 * time.Millisecond))
				if rand.IntN(2) == 0 {
					return errCall
				}
				return nil
			})
		}
		defer safely(inner)
		defer func() {
			safely(func() { _ = pass.Done([]error{nil, nil, errCall, stability.ErrRejected}[rand.IntN(4)]) })
		}()
		for range 3 {
			time.Sleep(rand.N(10 * time.Millisecond))
			switch rand.IntN(3) {
			case 0:
				safely(pass.Answered)
			case 1:
				safely(inner)
			}
		}
		if rand.IntN(10) == 0 {
			goexit()
		}
	}
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range each {
				time.Sleep(rand.N(500 * time.Millisecond))
				asked.Add(1)
				if i%2 == 0 {
					exit(call)
				} else {
					exit(stream)
				}
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

// A hundred thousand calls in the course of one probe, and as many beside it.
//
// Contract: 4, 49
func TestStormWithinAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const goroutines = 100_000
		b := probing(t, breaker.Config{})
		probe, err := b.Enter(t.Context())
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				time.Sleep(rand.N(time.Millisecond))
				err := b.Run(probe.Context(), func(context.Context) error {
					if i%2 == 0 {
						return errCall
					}
					return nil
				})
				if stability.Rejected(err) {
					t.Error("an inner call was refused")
				}
			})
			wg.Go(func() {
				time.Sleep(rand.N(time.Millisecond))
				if b.Run(context.Background(), ok) == nil {
					t.Error("an outer call passed")
				}
			})
		}
		wg.Wait()
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, probe.Done(nil))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, stability.Calls{Succeeded: goroutines/2 + 1, Failed: goroutines/2 + 1, Rejected: goroutines}, b.Stats().Calls)
	})
}
