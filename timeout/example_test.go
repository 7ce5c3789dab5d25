package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

// query stands for a call that answers when it is ready to, or when its context
// ends.
func query(ctx context.Context, takes time.Duration) (string, error) {
	select {
	case <-time.After(takes):
		return "42 in stock", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func Example() {
	stock := timeout.New(timeout.Config{Name: "stock", After: 20 * time.Millisecond})

	err := stock.Run(context.Background(), func(ctx context.Context) error {
		_, err := query(ctx, time.Hour)
		return err
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, timeout.ErrExceeded), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// stock: timeout: exceeded 20ms: context deadline exceeded
	// true true
}

func ExampleDo() {
	stock := timeout.New(timeout.Config{Name: "stock", After: time.Minute})

	answer, err := timeout.Do(context.Background(), stock, func(ctx context.Context) (string, error) {
		return query(ctx, time.Millisecond)
	})
	fmt.Println(answer, err)
	// Output: 42 in stock <nil>
}

// The caller's own deadline comes back as the caller's: the dependency was given
// less time than the policy would have.
func ExampleTimeout_Run_callersDeadline() {
	stock := timeout.New(timeout.Config{Name: "stock", After: time.Minute})

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := stock.Run(ctx, func(ctx context.Context) error {
		_, err := query(ctx, time.Hour)
		return err
	})
	fmt.Println(err, errors.Is(err, timeout.ErrExceeded))
	// Output: context deadline exceeded false
}

// A pass bounds what outlives a function, here the time until the last row is read.
func ExampleTimeout_Enter() {
	rows := timeout.New(timeout.Config{Name: "rows", After: time.Minute})

	pass, err := rows.Enter(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = query(pass.Context(), time.Millisecond)
	fmt.Println(pass.Done(err), pass.Context().Err())
	// Output: <nil> context canceled
}

// One timeout around all attempts, one around each.
func ExampleTimeout_chain() {
	total := timeout.New(timeout.Config{Name: "total", After: time.Minute})
	attempt := timeout.New(timeout.Config{Name: "attempt", After: 20 * time.Millisecond})

	_, err := stability.Do(context.Background(), stability.Chain(total, attempt), func(ctx context.Context) (string, error) {
		return query(ctx, time.Hour)
	})
	var e *timeout.Error
	fmt.Println(errors.As(err, &e), e.Name)
	// Output: true attempt
}
