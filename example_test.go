package stability_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// Guard a function that returns a value.
func ExampleDo() {
	pricing := breaker.New(breaker.Config{Name: "pricing"})

	price, err := stability.Do(context.Background(), pricing, func(ctx context.Context) (int, error) {
		return 42, nil // ask the pricing service
	})
	fmt.Println(price, err)
	// Output: 42 <nil>
}

// Policies around one another, the outermost first. The total timeout bounds all
// attempts with their pauses; a retry passes the limit, the bulkhead and the breaker
// again; the inner timeout bounds one attempt, and not the wait for a permit.
func ExampleChain() {
	inventory := stability.Chain(
		timeout.New(timeout.Config{Name: "inventory", After: 5 * time.Second}),
		retry.New(retry.Config{Name: "inventory"}),
		ratelimit.New(ratelimit.Config{Name: "inventory", Rate: 100}),
		bulkhead.New(bulkhead.Config{Name: "inventory", Limit: 20}),
		breaker.New(breaker.Config{Name: "inventory"}),
		timeout.New(timeout.Config{Name: "inventory attempt", After: time.Second}),
	)

	attempts := 0
	err := inventory.Run(context.Background(), func(ctx context.Context) error {
		if attempts++; attempts == 1 {
			return errors.New("connection reset")
		}
		return nil
	})
	fmt.Println(attempts, err)
	// Output: 2 <nil>
}

// The order matters. A breaker outside the retry sees one call, and opens after so
// many calls; inside it sees every attempt, opens sooner, and ends the retries that
// would have gone on.
func ExampleChain_order() {
	attempts := func(outside bool) int {
		b := breaker.New(breaker.Config{Consecutive: 3})
		r := retry.New(retry.Config{Attempts: 3, Base: time.Millisecond, Budget: retry.Unlimited()})
		p := stability.Chain(r, b)
		if outside {
			p = stability.Chain(b, r)
		}
		attempts := 0
		for range 5 {
			_ = p.Run(context.Background(), func(context.Context) error {
				attempts++
				return errors.New("connection refused")
			})
		}
		return attempts
	}
	fmt.Println("breaker outside:", attempts(true))
	fmt.Println("breaker inside:", attempts(false))
	// Output:
	// breaker outside: 9
	// breaker inside: 3
}

// Every refusal is the same kind of error, whatever refused.
func ExampleRejected() {
	reports := bulkhead.New(bulkhead.Config{Name: "reports", Limit: 1})
	busy, _ := reports.Enter(context.Background())
	defer func() { _ = busy.Done(nil) }()

	err := reports.Run(context.Background(), func(context.Context) error { return nil })
	var r *stability.Rejection
	fmt.Println(err)
	fmt.Println(stability.Rejected(err), errors.Is(err, bulkhead.ErrFull), errors.As(err, &r))
	// Output:
	// reports: bulkhead: full
	// true true true
}

// A nil policy is the off switch: the call runs unguarded.
func ExamplePolicy_off() {
	var off *breaker.Breaker
	fmt.Println(off.Run(context.Background(), func(context.Context) error { return nil }))
	// Output: <nil>
}

// The figures of a policy are a plain value.
func ExampleCalls() {
	search := breaker.New(breaker.Config{Name: "search", Consecutive: 2})
	for range 5 {
		_ = search.Run(context.Background(), func(context.Context) error { return errors.New("timeout") })
	}
	s := search.Stats()
	fmt.Printf("%v: %d succeeded, %d failed, %d refused\n", s.State, s.Succeeded, s.Failed, s.Rejected)
	// Output: open: 0 succeeded, 2 failed, 3 refused
}
