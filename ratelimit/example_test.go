package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
)

func Example() {
	// Two calls at once, then one a minute.
	mail := ratelimit.New(ratelimit.Config{Name: "mail", Rate: 1.0 / 60, Burst: 2})

	for range 3 {
		err := mail.Run(context.Background(), func(context.Context) error { return nil })
		fmt.Println(errors.Is(err, ratelimit.ErrLimited), stability.RetryAfter(err).Round(time.Second))
	}
	// Output:
	// false 0s
	// false 0s
	// true 1m0s
}

// Calls wait for up to a second; one that could not be let in by then is refused at
// once.
func Example_waiting() {
	search := ratelimit.New(ratelimit.Config{Name: "search", Rate: 100, Burst: 1, MaxWait: time.Second})

	for range 3 {
		_, err := ratelimit.Do(context.Background(), search, func(context.Context) (string, error) {
			return "found", nil
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

// Work that no function wraps asks for itself.
func ExampleLimiter_Allow() {
	logs := ratelimit.New(ratelimit.Config{Name: "logs", Rate: 1, Burst: 3})

	written := 0
	for range 1000 {
		if logs.Allow() {
			written++
		}
	}
	fmt.Println(written)
	// Output: 3
}

// A batch takes as many tokens as it has items.
func ExampleLimiter_WaitN() {
	items := ratelimit.New(ratelimit.Config{Name: "items", Rate: 1000, Burst: 50})

	fmt.Println(items.WaitN(context.Background(), 50))
	fmt.Println(items.WaitN(context.Background(), 51))
	// Output:
	// <nil>
	// items: ratelimit: limited: 51 tokens are more than the burst of 50
}

func ExampleGroup() {
	clients := ratelimit.NewGroup(ratelimit.Config{Name: "clients", Rate: 1.0 / 60, Burst: 1}, stability.Keys{Max: 10_000})

	for _, client := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"} {
		fmt.Println(client, clients.Get(client).Allow())
	}
	// Output:
	// 10.0.0.1 true
	// 10.0.0.2 true
	// 10.0.0.1 false
}
