package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/retry"
)

func Example() {
	r := retry.New(retry.Config{Name: "inventory"})

	calls := 0
	stock, err := retry.Do(context.Background(), r, func(context.Context) (int, error) {
		if calls++; calls < 3 {
			return 0, io.ErrUnexpectedEOF
		}
		return 42, nil
	})
	fmt.Println(stock, err, "after", calls, "attempts")
	// Output: 42 <nil> after 3 attempts
}

// A call that is given up says why, and what the last attempt ended in.
func ExampleError() {
	r := retry.New(retry.Config{Name: "inventory", Base: time.Millisecond})
	err := r.Run(context.Background(), func(context.Context) error { return io.ErrUnexpectedEOF })
	fmt.Println(err)
	fmt.Println(errors.Is(err, retry.ErrExhausted), errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// inventory: retry: attempts exhausted (attempt 3: unexpected EOF)
	// true true
}

// Only what may pass by itself is worth another attempt.
func ExampleConfig_retryable() {
	errNotFound := errors.New("no such article")
	r := retry.New(retry.Config{
		Retryable: func(err error) bool { return !errors.Is(err, errNotFound) },
	})
	err := r.Run(context.Background(), func(context.Context) error { return errNotFound })
	fmt.Println(err, r.Stats().Attempts)
	// Output: no such article 1
}

// One budget for all clients of a dependency bounds what they add to its load
// together.
func ExampleBudget() {
	budget := retry.NewBudget(retry.BudgetConfig{Ratio: 0.1})
	read := retry.New(retry.Config{Name: "read", Base: time.Microsecond, Budget: budget})
	list := retry.New(retry.Config{Name: "list", Base: time.Microsecond, Budget: budget})

	for range 50 {
		fail := func(context.Context) error { return io.ErrUnexpectedEOF }
		_ = read.Run(context.Background(), fail)
		_ = list.Run(context.Background(), fail)
	}
	fmt.Println(read.Stats().Attempts+list.Stats().Attempts, "attempts at 100 calls")
	// Output: 120 attempts at 100 calls
}

// Outside a breaker, a retry sees each refusal, and does not retry it: calls that
// fail open the breaker, and then end at once. The call was made, so that the error is
// no stability.Rejection; errors.Is finds why it went on no longer, and what failed.
func ExampleRetry_Run_withBreaker() {
	p := stability.Chain(
		retry.New(retry.Config{Attempts: 10, Base: time.Microsecond}),
		breaker.New(breaker.Config{Name: "inventory", Consecutive: 4}),
	)
	sent := 0
	err := p.Run(context.Background(), func(context.Context) error { sent++; return io.ErrUnexpectedEOF })
	fmt.Println(sent, errors.Is(err, breaker.ErrOpen), errors.Is(err, io.ErrUnexpectedEOF), stability.Rejected(err))
	err = p.Run(context.Background(), func(context.Context) error { sent++; return io.ErrUnexpectedEOF })
	fmt.Println(sent, errors.Is(err, breaker.ErrOpen), errors.Is(err, io.ErrUnexpectedEOF), stability.Rejected(err))
	// Output:
	// 4 true true false
	// 4 true false true
}
