package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
)

// A page shows what sells best where it cannot show what suits the visitor, and says
// so.
func ExampleDo() {
	var (
		guard     = bulkhead.New(bulkhead.Config{Name: "recommendations", Limit: 20, Queue: 20, MaxWait: 50 * time.Millisecond})
		offers    = fallback.New(fallback.Config{Name: "recommendations"})
		recommend = func(context.Context) ([]string, error) { return nil, errors.New("connection refused") }
		popular   = []string{"umbrella", "kettle"}
	)
	list, degraded, err := fallback.Do(context.Background(), offers,
		func(ctx context.Context) ([]string, error) { return stability.Do(ctx, guard, recommend) },
		func(context.Context, error) ([]string, error) { return popular, nil })
	if err != nil {
		fmt.Println("no page:", err)
		return
	}
	if degraded != nil {
		fmt.Println("instead of recommendations, because of:", degraded.Cause)
	}
	fmt.Println(list)
	// Output:
	// instead of recommendations, because of: connection refused
	// [umbrella kettle]
}
