package flight_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/crumplezone/stability/flight"
)

// Ten pages ask for one price. Those that ask while another's call is on its way
// share it.
func ExampleFlights_Do() {
	var (
		prices = flight.New[int](flight.Config{Name: "prices"})
		fetch  = func(context.Context) (int, error) { return 1999, nil } // over the network
		pages  sync.WaitGroup
	)
	for range 10 {
		pages.Go(func() {
			if _, _, err := prices.Do(context.Background(), "umbrella", fetch); err != nil {
				fmt.Println(err)
			}
		})
	}
	pages.Wait()
	made, shared := prices.Stats().Succeeded, prices.Stats().Shared
	fmt.Println("prices shown:", made+shared)
	// Output: prices shown: 10
}

// The last good price answers for a minute while there is no new one.
func ExampleConfig_staleIfError() {
	var (
		ctx    = context.Background()
		prices = flight.New[int](flight.Config{Name: "prices", StaleIfError: time.Minute})
		works  = func(context.Context) (int, error) { return 1999, nil }
		fails  = func(context.Context) (int, error) { return 0, errors.New("connection refused") }
	)
	for _, fetch := range []func(context.Context) (int, error){works, fails} {
		price, degraded, err := prices.Do(ctx, "umbrella", fetch)
		switch {
		case err != nil:
			fmt.Println("no price:", err)
		case degraded != nil:
			fmt.Println("the last price:", price, "because of:", degraded.Cause)
		default:
			fmt.Println("the price:", price)
		}
	}
	// Output:
	// the price: 1999
	// the last price: 1999 because of: connection refused
}
