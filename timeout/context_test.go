package timeout_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/timeout"
)

// Everybody may do everything with the context at the moment it is released, and
// for ever after.
func TestContextIsSharedAndKept(t *testing.T) {
	type key struct{}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	defer cancel()
	to := timeout.New(timeout.Config{After: time.Hour})
	looks := []func(context.Context){
		func(ctx context.Context) { <-ctx.Done() },
		func(ctx context.Context) {
			for ctx.Err() == nil {
			}
		},
		func(ctx context.Context) {
			for context.Cause(ctx) == nil {
			}
		},
		func(ctx context.Context) {
			child, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			<-child.Done()
		},
		func(ctx context.Context) {
			ran := make(chan struct{})
			context.AfterFunc(ctx, func() { close(ran) })
			<-ran
		},
		func(ctx context.Context) {
			for ctx.Err() == nil {
				_ = fmt.Sprint(ctx, ctx.Value(key{}))
			}
		},
	}
	var wg sync.WaitGroup
	for n := range 300 {
		var kept context.Context
		require.NoError(t, to.Run(parent, func(ctx context.Context) error {
			kept = ctx
			for i, look := range looks {
				if n&(1<<i) == 0 {
					wg.Go(func() { look(ctx) })
				}
			}
			return nil
		}))
		wg.Go(func() {
			if err := kept.Err(); err != context.Canceled { //nolint:errorlint // The very value.
				t.Errorf("the context kept: %v", err)
			}
			<-kept.Done()
		})
	}
	wg.Wait()
}

// A context that nobody asked for Done ends for those who ask later.
func TestDoneAskedAfterTheRelease(t *testing.T) {
	var kept context.Context
	type key struct{}
	parent := context.WithValue(t.Context(), key{}, "v")
	require.NoError(t, timeout.New(timeout.Config{After: time.Hour}).Run(parent, func(ctx context.Context) error {
		kept = ctx
		return nil
	}))
	<-kept.Done()
	require.Equal(t, context.Canceled, kept.Err())
	require.Equal(t, context.Canceled, context.Cause(kept))
	require.Equal(t, "v", kept.Value(key{}), "values stay")
	child, cancel := context.WithCancel(kept)
	defer cancel()
	require.Equal(t, context.Canceled, child.Err())
}

// Whoever looks at Err alone sees the deadline without any timer, and everybody
// else agrees from then on.
func TestErrSettlesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass, err := timeout.New(timeout.Config{After: time.Second}).Enter(t.Context())
		require.NoError(t, err)
		ctx := pass.Context()
		time.Sleep(time.Second - 1)
		require.NoError(t, ctx.Err())
		time.Sleep(1)
		require.Equal(t, context.DeadlineExceeded, ctx.Err())
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), timeout.ErrExceeded)
		require.NoError(t, pass.Done(nil))
		require.Equal(t, context.DeadlineExceeded, ctx.Err(), "the release changes nothing")
	})
}

// The context package finds its own context in ours, so that contexts derived from
// it cost no goroutine.
func TestChildrenCostNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass, err := timeout.New(timeout.Config{After: time.Hour}).Enter(t.Context())
		require.NoError(t, err)
		cancels := make([]context.CancelFunc, 100)
		before := goroutines()
		for i := range cancels {
			_, cancels[i] = context.WithCancel(pass.Context())
		}
		require.LessOrEqual(t, goroutines(), before) // fewer, as one of an earlier test ends
		for _, cancel := range cancels {
			cancel()
		}
		require.NoError(t, pass.Done(nil))
	})
}

func TestContextNamesItself(t *testing.T) {
	to := timeout.New(timeout.Config{After: time.Hour})
	for want, parent := range map[string]context.Context{
		"context.Background.WithDeadline(":      context.Background(), //nolint:usetesting // Its name is looked at.
		"timeout_test.foreignCtx.WithDeadline(": foreignCtx{t.Context()},
	} {
		require.NoError(t, to.Run(parent, func(ctx context.Context) error {
			require.Contains(t, fmt.Sprint(ctx), want)
			return nil
		}))
	}
}
