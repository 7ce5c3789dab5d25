package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// At most two calls to the dependency at a time; what comes on top is refused at
// once, so that a slow dependency holds two of the caller's goroutines and not all.
func Example() {
	inventory := bulkhead.New(bulkhead.Config{Name: "inventory", Limit: 2})

	slow, release := make(chan struct{}), make(chan struct{})
	for range 2 {
		go func() {
			_ = inventory.Run(context.Background(), func(context.Context) error {
				slow <- struct{}{}
				<-release
				return nil
			})
		}()
		<-slow
	}
	err := inventory.Run(context.Background(), func(context.Context) error {
		fmt.Println("not called")
		return nil
	})
	close(release)

	fmt.Println(err)
	fmt.Println(errors.Is(err, bulkhead.ErrFull), stability.Rejected(err))
	// Output:
	// inventory: bulkhead: full
	// true true
}

// Short bursts wait their turn in a bounded queue, for no longer than MaxWait or
// their own deadline.
func Example_queue() {
	reports := bulkhead.New(bulkhead.Config{
		Name:    "reports",
		Limit:   1,
		Queue:   10,
		MaxWait: 200 * time.Millisecond,
	})
	for range 3 {
		err := reports.Run(context.Background(), func(context.Context) error { return nil })
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

// A function that returns a value.
func ExampleDo() {
	pricing := bulkhead.New(bulkhead.Config{Name: "pricing", Limit: 10})
	price, err := bulkhead.Do(context.Background(), pricing, func(context.Context) (int, error) {
		return 42, nil
	})
	fmt.Println(price, err)
	// Output: 42 <nil>
}

// The call outlives the function that began it: the permit is held until Done.
func ExampleBulkhead_Enter() {
	streams := bulkhead.New(bulkhead.Config{Name: "streams", Limit: 100})
	pass, err := streams.Enter(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open:", streams.Stats().InUse)
	_ = pass.Done(nil) // when the stream has ended, with its error
	fmt.Println("open:", streams.Stats().InUse)
	// Output:
	// open: 1
	// open: 0
}

// A bulkhead for each host: one that hangs fills its own and leaves the others'
// permits alone.
func ExampleGroup() {
	hosts := bulkhead.NewGroup(bulkhead.Config{Name: "shards", Limit: 1}, stability.Keys{Max: 100})

	hangs, _ := hosts.Get("eu-1").Enter(context.Background())
	for _, host := range []string{"eu-1", "eu-2"} {
		err := hosts.Get(host).Run(context.Background(), func(context.Context) error { return nil })
		fmt.Println(host, err)
	}
	_ = hangs.Done(nil)
	// Output:
	// eu-1 shards[eu-1]: bulkhead: full
	// eu-2 <nil>
}
