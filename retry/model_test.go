package retry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/retry"
)

// modelBudget remembers each call and each retry with its time.
type modelBudget struct {
	ratio, floor float64
	step         time.Duration
	began        time.Time
	calls, spent []int64 // their slots
}

func (m *modelBudget) slot() int64 { return int64(time.Since(m.began) / m.step) }

func (m *modelBudget) within(steps int64, slots []int64) (n int64) {
	for _, s := range slots {
		if s > m.slot()-steps {
			n++
		}
	}
	return n
}

func (m *modelBudget) stats() retry.BudgetStats {
	return retry.BudgetStats{
		Limit: int64(m.ratio*float64(m.within(10, m.calls)) + m.floor),
		Spent: m.within(11, m.spent),
	}
}

// Contract: 30
func TestBudgetAgainstModel(t *testing.T) {
	type step struct {
		earn, spend int
		wait        time.Duration
		look        bool // else only the timer turns the slots
	}
	rapid.Check(t, func(rt *rapid.T) {
		cfg := retry.BudgetConfig{
			Ratio:        rapid.Float64Range(0.001, 2).Draw(rt, "ratio"),
			MinPerSecond: rapid.Float64Range(0.001, 3).Draw(rt, "floor"),
			Window:       time.Duration(rapid.IntRange(10, 60_000).Draw(rt, "window")) * time.Millisecond,
		}
		script := rapid.SliceOf(rapid.Custom(func(rt *rapid.T) step {
			return step{
				earn:  rapid.IntRange(0, 20).Draw(rt, "earn"),
				spend: rapid.IntRange(0, 20).Draw(rt, "spend"),
				wait:  time.Duration(rapid.Int64Range(0, int64(2*cfg.Window)).Draw(rt, "wait")),
				look:  rapid.Bool().Draw(rt, "look"),
			}
		})).Draw(rt, "script")
		require.Empty(rt, inBubble(t, func() (difference string) {
			b := retry.NewBudget(cfg)
			m := &modelBudget{ratio: cfg.Ratio, floor: cfg.MinPerSecond * cfg.Window.Seconds(), step: cfg.Window / 10, began: time.Now()}
			for i, s := range script {
				for range s.earn {
					b.Earn(context.Background())
					m.calls = append(m.calls, m.slot())
				}
				for range s.spend {
					want := m.stats()
					if want.Spent < want.Limit {
						m.spent = append(m.spent, m.slot())
					}
					if got := b.Spend(); got != (want.Spent < want.Limit) {
						return fmt.Sprintf("step %d: Spend is %v at %+v", i, got, want)
					}
				}
				time.Sleep(s.wait)
				synctest.Wait() // for the timer, which may be due now
				if !s.look {
					continue
				}
				if want, got := m.stats(), b.Stats(); want != got {
					return fmt.Sprintf("step %d: %+v instead of %+v", i, got, want)
				}
			}
			return ""
		}))
	})
}

// inBubble returns what f finds wrong. It is judged outside, so that rapid can
// shrink what it drew.
func inBubble(t *testing.T, f func() string) (difference string) {
	synctest.Test(t, func(*testing.T) { difference = f() })
	return difference
}

// However calls, retries and the clock fall together, what was granted since the
// beginning is within what all calls and all windows pay for.
//
// Contract: 30, 45
func TestBudgetBoundHoldsUnderConcurrency(t *testing.T) {
	const window = 10 * time.Millisecond // real time, so that slots turn while others earn and spend
	began := time.Now()
	b := retry.NewBudget(retry.BudgetConfig{Ratio: 0.3, MinPerSecond: 100, Window: window})
	var calls, granted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20_000 {
				calls.Add(1)
				b.Earn(context.Background())
				for range 2 {
					if b.Spend() {
						granted.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	windows := 1 + int64(time.Since(began)/window)
	require.LessOrEqual(t, granted.Load(), int64(0.3*float64(calls.Load()))+windows)
	require.Positive(t, granted.Load())
}

// An ending is what one attempt does.
type ending int

const (
	succeeds ending = iota
	fails
	isRejected
	isFinal
	isPushedBack
	cancels
	endings
)

var errFinal = errors.New("not to be retried")

// A reference of the whole policy.
//
// Contract: 27, 28, 29, 44
func TestRetryAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{
			attempts: rapid.IntRange(1, 6).Draw(rt, "attempts"),
			base:     time.Duration(rapid.IntRange(1, 1000).Draw(rt, "base")) * time.Millisecond,
			tokens:   rapid.IntRange(1, 8).Draw(rt, "tokens"),
			patience: time.Duration(rapid.IntRange(1, 10_000).Draw(rt, "patience")) * time.Millisecond,
			asked:    time.Duration(rapid.IntRange(1, 5000).Draw(rt, "asked")) * time.Millisecond,
		}
		p.max = p.base * time.Duration(rapid.IntRange(1, 8).Draw(rt, "max/base"))
		p.script = rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) ending {
			return ending(rapid.IntRange(0, int(endings)-1).Draw(rt, "ending"))
		}), p.attempts, p.attempts).Draw(rt, "script")
		want := p.expected()
		require.Empty(rt, inBubble(t, func() string { return want.differs(p.actual()) }))
	})
}

// A plan is one call, with all its attempts decided beforehand.
type plan struct {
	attempts        int
	base, max       time.Duration
	tokens          int
	patience, asked time.Duration
	script          []ending
}

// A result is what a plan comes to.
type result struct {
	made   int
	waited time.Duration
	calls  stability.Calls
	errs   []error // all are found in the error
}

// expected is the reference.
func (p plan) expected() result {
	var waited time.Duration
	var before error // of the last attempt
	for n := 1; ; n++ {
		end := func(calls stability.Calls, errs ...error) result { return result{n, waited, calls, errs} }
		pause, cause := min(p.max, p.base<<(n-1)), errCall
		switch p.script[n-1] {
		case succeeds:
			return end(stability.Calls{Succeeded: 1})
		case isRejected:
			if n > 1 {
				return end(stability.Calls{Failed: 1}, retry.ErrRefused, before)
			}
			return end(stability.Calls{Ignored: 1}, stability.ErrRejected)
		case isFinal:
			return end(stability.Calls{Failed: 1}, errFinal)
		case cancels:
			return end(stability.Calls{Ignored: 1}, context.Canceled, errCall)
		case isPushedBack:
			spread := min(pause+p.asked/2, (p.patience-waited-p.asked)/2)
			pause, cause = p.asked+max(spread, 0), pushback(p.asked)
		}
		switch {
		case n == p.attempts:
			return end(stability.Calls{Failed: 1}, retry.ErrExhausted, cause)
		case waited+pause >= p.patience:
			return end(stability.Calls{Failed: 1}, retry.ErrDeadline, context.DeadlineExceeded, cause)
		case n > p.tokens:
			return end(stability.Calls{Failed: 1}, retry.ErrBudget, cause)
		}
		waited += pause
		before = cause
	}
}

// actual runs the plan, and returns the error beside.
func (p plan) actual() (result, error) {
	r := retry.New(retry.Config{
		Attempts: p.attempts, Base: p.base, Max: p.max, Jitter: longest,
		Budget:    retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: (float64(p.tokens) + .5) / 1000, Window: 1000 * time.Second}),
		Retryable: func(err error) bool { return !errors.Is(err, errFinal) },
	})
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	began, made := time.Now(), 0
	err := r.Run(ctx, func(context.Context) error {
		made++
		switch p.script[made-1] {
		case succeeds:
			return nil
		case isRejected:
			return &stability.Rejection{}
		case isFinal:
			return errFinal
		case isPushedBack:
			return pushback(p.asked)
		case cancels:
			cancel()
		}
		return errCall
	})
	s := r.Stats()
	if s.Attempts != int64(made) || s.Budget.Spent != int64(made-1) {
		err = fmt.Errorf("%d attempts: %+v", made, s)
	}
	return result{made: made, waited: time.Since(began), calls: s.Calls}, err
}

func (want result) differs(got result, err error) string {
	for _, target := range want.errs {
		if !errors.Is(err, target) {
			return fmt.Sprintf("%v is not %v", err, target)
		}
	}
	if len(want.errs) == 0 && err != nil {
		return err.Error()
	}
	if want.made != got.made || want.waited != got.waited || want.calls != got.calls {
		return fmt.Sprintf("%+v instead of %+v", got, want)
	}
	return ""
}
