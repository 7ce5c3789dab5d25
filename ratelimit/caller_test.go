package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

// The cause that a caller canceled with was lost: a service that shuts down saw "context
// canceled" where it had said why.
func TestCauseOfTheCallersEnd(t *testing.T) {
	shutdown := errors.New("shutting down")
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1, MaxWait: time.Hour}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		for name, ask := range map[string]func(context.Context) error{
			"Run":   func(ctx context.Context) error { return l.Run(ctx, ok) },
			"Enter": func(ctx context.Context) error { _, err := l.Enter(ctx); return err },
			"Do":    func(ctx context.Context) error { return do(ctx, l) },
			"Wait":  l.Wait,
		} {
			for _, after := range []time.Duration{0, time.Millisecond} {
				ctx, cancel := context.WithCancelCause(t.Context())
				if after == 0 {
					cancel(shutdown)
				} else {
					time.AfterFunc(after, func() { cancel(shutdown) })
				}
				err := ask(ctx)
				require.ErrorIs(t, err, context.Canceled, name)
				require.ErrorIs(t, err, shutdown, name)
				require.Equal(t, after > 0, stability.Rejected(err), name)
			}
		}
	})
}

func do(ctx context.Context, l *ratelimit.Limiter) error {
	_, err := ratelimit.Do(ctx, l, func(context.Context) (int, error) { return 0, nil })
	return err
}

// A panicking context panics in the method at the n-th call of it.
type panickingContext struct {
	context.Context
	method string
	n      *int
}

func (c panickingContext) at(method string) {
	if method == c.method {
		if *c.n--; *c.n == 0 {
			panic(method)
		}
	}
}

func (c panickingContext) Done() <-chan struct{} { c.at("Done"); return c.Context.Done() }
func (c panickingContext) Err() error            { c.at("Err"); return c.Context.Err() }
func (c panickingContext) Value(key any) any     { c.at("Value"); return c.Context.Value(key) }

func (c panickingContext) Deadline() (time.Time, bool) { c.at("Deadline"); return c.Context.Deadline() }

// A context is anybody's code. One that panicked in the queue stayed there for ever: each
// took a token that nobody used, and Queued never fell again.
//
// Contract: 24, 44
func TestContextThatPanicsInTheQueue(t *testing.T) {
	for _, method := range []string{"Done", "Err", "Value", "Deadline"} {
		t.Run(method, func(t *testing.T) {
			panicked := 0
			for n := 1; n < 8; n++ {
				synctest.Test(t, func(t *testing.T) {
					l := ratelimit.New(ratelimit.Config{Rate: 10, Burst: 2})
					drain(l)
					func() {
						defer func() {
							if recover() != nil {
								panicked++
							}
						}()
						n := n
						_ = l.Wait(panickingContext{t.Context(), method, &n})
						drain(l)
					}()
					require.Zero(t, l.Stats().Queued)
					time.Sleep(time.Second)
					require.Equal(t, 2, drain(l), "the bucket is full again")
					began := time.Now()
					require.NoError(t, l.Wait(t.Context()))
					require.LessOrEqual(t, time.Since(began), 100*time.Millisecond, "nobody is before us")
				})
			}
			require.Positive(t, panicked)
		})
	}
}

// A token that came to a call whose context then panicked is there for the next.
//
// Contract: 24, 44
func TestContextThatPanicsWithItsTokens(t *testing.T) {
	bubble(t, ratelimit.Config{Rate: 1, Burst: 1}, func(t *testing.T, l *ratelimit.Limiter) {
		drain(l)
		n := 2 // Err is asked as the call comes, and as its token does
		require.Panics(t, func() { _ = l.Wait(panickingContext{t.Context(), "Err", &n}) })
		require.True(t, l.Allow())
	})
}
