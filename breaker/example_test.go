package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

func Example() {
	b := breaker.New(breaker.Config{
		Name:        "inventory",
		Consecutive: 3,
		OnChange:    func(c breaker.Change) { fmt.Println(c.Name, "is", c.To) },
	})
	call := func(context.Context) error { return errors.New("connection refused") }

	for range 5 {
		err := b.Run(context.Background(), call)
		fmt.Println(errors.Is(err, breaker.ErrOpen))
	}
	// Output:
	// false
	// false
	// inventory is open
	// false
	// true
	// true
}

// A function that returns a value.
func ExampleDo() {
	b := breaker.New(breaker.Config{Name: "pricing"})
	price, err := breaker.Do(context.Background(), b, func(context.Context) (int, error) {
		return 42, nil
	})
	fmt.Println(price, err)
	// Output: 42 <nil>
}

// One breaker for each host: a dead one does not take the others with it.
func ExampleGroup() {
	hosts := breaker.NewGroup(breaker.Config{Name: "shards", Consecutive: 1}, stability.Keys{Max: 100})
	fetch := func(host string) error {
		return hosts.Get(host).Run(context.Background(), func(context.Context) error {
			if host == "eu-1" {
				return errors.New("no route to host")
			}
			return nil
		})
	}
	_ = fetch("eu-1")
	fmt.Println(errors.Is(fetch("eu-1"), breaker.ErrOpen), fetch("eu-2"))
	// Output: true <nil>
}

// A call that outlives the function which began it, such as a stream.
func ExampleBreaker_Enter() {
	b := breaker.New(breaker.Config{Name: "feed"})
	pass, err := b.Enter(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	// ... read the stream under pass.Context(), and when it ends:
	_ = pass.Done(nil)
	fmt.Println(b.Stats().Succeeded)
	// Output: 1
}

// Operators can steer a breaker while the service runs.
func ExampleBreaker_ForceOpen() {
	b := breaker.New(breaker.Config{Name: "reports"})
	b.ForceOpen() // planned maintenance of the dependency
	err := b.Run(context.Background(), ok)
	fmt.Println(err)
	b.Auto()
	fmt.Println(b.Run(context.Background(), ok))
	// Output:
	// reports: breaker: forced open
	// <nil>
}

// Observe shows what a breaker would do before it is trusted to do it.
func ExampleConfig_observe() {
	b := breaker.New(breaker.Config{Name: "search", Observe: true, Consecutive: 2, OpenFor: time.Minute})
	for range 5 {
		_ = b.Run(context.Background(), failed)
	}
	s := b.Stats()
	fmt.Println(s.State, s.Failed, s.Rejected, s.Observed)
	// Output: open 5 0 3
}
