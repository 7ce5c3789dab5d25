package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// "bulkhead: full" was said of a bulkhead without a queue, of a full queue, and of a call
// that had waited in vain. Each says what it was, and in each errors.Is finds ErrFull and
// ErrRejected.
func TestReasons(t *testing.T) {
	shutdown := errors.New("shutting down")
	tests := map[string]struct {
		cfg     bulkhead.Config
		waiters int
		ctx     func(context.Context) (context.Context, context.CancelFunc)
		is      []error
	}{
		"bulkhead: full": {cfg: bulkhead.Config{Limit: 1}},
		"bulkhead: full, and so is its queue": {
			cfg: bulkhead.Config{Limit: 1, Queue: 2}, waiters: 2,
		},
		"bulkhead: full: no permit came free within MaxWait": {
			cfg: bulkhead.Config{Limit: 1, Queue: 1, MaxWait: time.Second},
		},
		"bulkhead: full: the call's context ended before it got a permit: context deadline exceeded": {
			cfg: bulkhead.Config{Limit: 1, Queue: 1},
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Second)
			},
			is: []error{context.DeadlineExceeded},
		},
		"bulkhead: full: the call's context ended before it got a permit: context canceled: shutting down": {
			cfg: bulkhead.Config{Limit: 1, Queue: 1},
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(ctx)
				time.AfterFunc(time.Second, func() { cancel(shutdown) })
				return ctx, func() { cancel(nil) }
			},
			is: []error{context.Canceled, shutdown},
		},
	}
	for text, test := range tests {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(test.cfg)
				pass := enter(t, b)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range test.waiters {
					go func() { _ = b.Run(ctx, ok) }()
				}
				synctest.Wait()
				if test.ctx != nil {
					ctx, cancel = test.ctx(ctx)
					defer cancel()
				}
				r := requireRefused(t, b.Run(ctx, ok))
				require.EqualError(t, r, text)
				for _, err := range append(test.is, bulkhead.ErrFull, stability.ErrRejected) {
					require.ErrorIs(t, r, err)
				}
				innermost := r.Reason
				for errors.Unwrap(innermost) != nil {
					innermost = errors.Unwrap(innermost)
				}
				require.ErrorIs(t, innermost, stability.ErrRejected, "for who unwraps to the last")
				require.NoError(t, pass.Done(nil))
			})
		})
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(shutdown)
	err := bulkhead.New(bulkhead.Config{Limit: 1}).Run(ctx, ok)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, shutdown, "the cause of a context that ended before")
}

// A queue whose wait is certain to be longer than MaxWait says so.
func TestReasonOfALongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100, MaxWait: 10 * time.Second})
		for range 101 {
			go func() {
				_ = b.Run(context.Background(), func(context.Context) error { time.Sleep(time.Second); return nil })
			}()
		}
		time.Sleep(time.Second + time.Millisecond)
		r := requireRefused(t, b.Run(t.Context(), ok))
		require.EqualError(t, r, "bulkhead: full: the wait would be longer than MaxWait, retry after 50s")
		time.Sleep(time.Hour)
		requireIdle(t, b)
	})
}

// hostile is a context of which one method ends its caller's goroutine, by a panic or by a
// Goexit, at its n-th call.
type hostile struct {
	context.Context
	method string
	n      *int
	end    func()
}

func (h hostile) call(method string) {
	if h.method == method {
		if *h.n--; *h.n == 0 {
			h.end()
		}
	}
}

func (h hostile) Done() <-chan struct{} { h.call("Done"); return h.Context.Done() }

func (h hostile) Err() error { h.call("Err"); return h.Context.Err() }

func (h hostile) Value(key any) any { h.call("Value"); return h.Context.Value(key) }

func (h hostile) Deadline() (time.Time, bool) { h.call("Deadline"); return h.Context.Deadline() }

// A context whose Done panicked took a permit along: it had joined the queue, and a grant
// waited for it for ever. Nothing is lost whichever of its methods fails, and whenever it
// is asked.
//
// Contract: 14, 15
func TestContextsThatPanic(t *testing.T) {
	ends := map[string]func(){"panic": func() { panic("context") }, "Goexit": runtime.Goexit}
	for _, method := range []string{"Done", "Err", "Value", "Deadline"} {
		for n := 1; n <= 12; n++ {
			for name, end := range ends {
				for _, way := range []string{"free", "nested", "full", "granted", "canceled", "late", "waits in vain"} {
					t.Run(fmt.Sprintf("%s of %s at call %d, %s", name, method, n, way), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { hostileCall(t, method, n, end, way) })
					})
				}
			}
		}
	}
}

func hostileCall(t *testing.T, method string, n int, end func(), way string) {
	cfg := bulkhead.Config{Limit: 1, Queue: 2, MaxWait: time.Minute}
	if way == "full" {
		cfg = bulkhead.Config{Limit: 1}
	}
	b := bulkhead.New(cfg)
	require.NoError(t, b.Run(t.Context(), func(context.Context) error { time.Sleep(time.Second); return nil }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var pass *stability.Pass
	if way != "free" {
		pass = enter(t, b)
	}
	hold := time.Second
	switch way {
	case "nested":
		ctx = pass.Context()
	case "canceled":
		time.AfterFunc(time.Second/2, cancel)
	case "late":
		hold = 10*time.Second - time.Millisecond
	case "waits in vain":
		hold = time.Hour
	}
	go func() {
		defer func() { _ = recover() }()
		_ = b.Run(hostile{ctx, method, &n, end}, func(context.Context) error { time.Sleep(time.Second); return errCall })
	}()
	time.Sleep(hold)
	require.NoError(t, pass.Done(nil))
	time.Sleep(time.Hour)
	requireIdle(t, b)
}

// A bulkhead made outside of a bubble is used inside, and the other way round, with a
// queue and with what it knows of the work: nothing of one clock is believed by the other.
//
// Contract: 55
func TestAcrossBubbles(t *testing.T) {
	const callers = 6
	busy := func(t *testing.T, b *bulkhead.Bulkhead, limit int) {
		t.Helper()
		before := b.Stats().Succeeded
		results := make(chan error)
		for range callers {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				results <- b.Run(ctx, func(context.Context) error {
					for b.Stats().Succeeded == before && b.Stats().Queued < callers-limit {
						runtime.Gosched()
					}
					return nil
				})
			}()
		}
		for range callers {
			require.NoError(t, <-results)
		}
		require.Less(t, b.Stats().Work, time.Hour, "no difference between two clocks")
		requireIdle(t, b)
	}
	for _, limit := range []int{1, 3} {
		outside := bulkhead.New(bulkhead.Config{Limit: limit, Queue: callers, MaxWait: time.Minute})
		for range 3 {
			busy(t, outside, limit)
			synctest.Test(t, func(t *testing.T) { busy(t, outside, limit) })
		}
		var inside *bulkhead.Bulkhead
		synctest.Test(t, func(t *testing.T) {
			inside = bulkhead.New(bulkhead.Config{Limit: limit, Queue: callers, MaxWait: time.Minute})
			busy(t, inside, limit)
		})
		busy(t, inside, limit)
		synctest.Test(t, func(t *testing.T) { busy(t, inside, limit) })
	}
}
