package antagonist

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls is a client that makes one call to a server.
func calls(server string) func(*World) Client {
	return func(w *World) Client {
		return func(ctx context.Context, _ *Request) error { return w.Call(ctx, server) }
	}
}

// tries is a client that makes up to n calls, each with a timeout, without a
// pause.
func tries(n int, timeout time.Duration, server string) func(*World) Client {
	return func(w *World) Client {
		return func(ctx context.Context, _ *Request) (err error) {
			for range n {
				attempt, cancel := context.WithTimeout(ctx, timeout)
				err = w.Call(attempt, server)
				cancel()
				if err == nil {
					return nil
				}
			}
			return err
		}
	}
}

// near fails the test when got is further from want than the tolerance, a share
// of want.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
		t.Errorf("%s: got %.4g, want %.4g within %g%%", what, got, want, 100*tolerance)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

const (
	ms  = time.Millisecond
	sec = time.Second
)

// failures are the errors of requests, by the second in which they came.
type failures struct {
	mu       sync.Mutex
	bySecond map[int][]error
}

func (f *failures) add(w *World, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bySecond == nil {
		f.bySecond = make(map[int][]error)
	}
	second := int(w.Elapsed() / sec)
	f.bySecond[second] = append(f.bySecond[second], err)
}
