package hedge_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/crumplezone/stability/hedge"
)

func Example() {
	h := hedge.New(hedge.Config{Name: "search", Delay: 10 * time.Millisecond})

	replica := make(chan string, 2)
	replica <- "slow"
	replica <- "fast"
	answer, err := hedge.Do(context.Background(), h, func(ctx context.Context) (string, error) {
		name := <-replica
		if name == "slow" {
			<-ctx.Done() // until the other has answered
			return "", ctx.Err()
		}
		return "from the " + name + " replica", nil
	})
	fmt.Println(answer, err)
	// Output: from the fast replica <nil>
}

// A value that must be closed: that of a loser by the disposer, the winner's by the
// caller, who releases its context with it.
func ExampleOpen() {
	h := hedge.New(hedge.Config{Name: "files"})
	open := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("contents")), nil
	}

	file, release, err := hedge.Open(context.Background(), h, open, func(loser io.ReadCloser) { loser.Close() })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer release()
	defer file.Close()
	contents, err := io.ReadAll(file)
	fmt.Println(string(contents), err)
	// Output: contents <nil>
}

// Without a Delay, a call is made again when it is slower than 95 of 100 were
// lately.
func ExampleConfig_percentile() {
	h := hedge.New(hedge.Config{MinDelay: 50 * time.Millisecond, MaxDelay: 200 * time.Millisecond})
	fmt.Println("while nothing is known:", h.Stats().Delay)
	for range 20 {
		_, _ = hedge.Do(context.Background(), h, func(context.Context) (int, error) { return 0, nil })
	}
	fmt.Println("for calls that take no time:", h.Stats().Delay)
	// Output:
	// while nothing is known: 200ms
	// for calls that take no time: 50ms
}
