package flight_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/flight"
)

// The call for A asks for B while the call for B asks for A: both waited for the other,
// and all of their callers for both, for ever. Whoever would close a circle calls its
// function by itself. So it is with any number of keys, and between several Flights.
//
// Contract: 49
func TestCircleOfKeys(t *testing.T) {
	for _, flights := range []int{1, 2} {
		for keys := 1; keys <= 5; keys++ {
			t.Run(strconv.Itoa(keys)+" keys of "+strconv.Itoa(flights), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var of []*flight.Flights[int]
					for range flights {
						of = append(of, flight.New[int](flight.Config{}))
					}
					calls := make([]int, keys)
					var ask func(ctx context.Context, key, depth int) (int, error)
					ask = func(ctx context.Context, key, depth int) (int, error) {
						v, _, err := of[key%flights].Do(ctx, strconv.Itoa(key), func(ctx context.Context) (int, error) {
							calls[key]++
							if depth > keys {
								return 1, nil
							}
							time.Sleep(time.Second) // until each key has its call
							n, err := ask(ctx, (key+1)%keys, depth+1)
							return n + 1, err
						})
						return v, err
					}
					results := make(chan error)
					for key := range keys {
						go func() { _, err := ask(t.Context(), key, 0); results <- err }()
					}
					for range keys {
						require.NoError(t, <-results)
					}
					for _, f := range of {
						require.Zero(t, f.Stats().Running)
					}
				})
			})
		}
	}
}

// Who waits no longer is in no circle: the call for A gave up on B, and B joins A's call.
func TestCircleThatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		b := make(chan string)
		go func() {
			v, _, _ := f.Do(t.Context(), "B", func(ctx context.Context) (string, error) {
				time.Sleep(2 * time.Second)
				v, _, err := f.Do(ctx, "A", func(context.Context) (string, error) { return "A alone", nil })
				return "B, after " + v, err
			})
			b <- v
		}()
		synctest.Wait() // B is under way
		a := make(chan string)
		go func() {
			v, _, _ := f.Do(t.Context(), "A", func(ctx context.Context) (string, error) {
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, _, err := f.Do(short, "B", func(context.Context) (string, error) { return "B alone", nil })
				if !errors.Is(err, context.DeadlineExceeded) {
					return "", errCall
				}
				time.Sleep(time.Minute)
				return "A", nil
			})
			a <- v
		}()
		require.Equal(t, "A", <-a)
		require.Equal(t, "B, after A", <-b, "it joined the call of A")
		require.EqualValues(t, 2, f.Stats().Shared)
	})
}

// A second key without a circle is shared as ever, also among calls within calls.
func TestCallsWithinCallsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[string](flight.Config{})
		shared := 0
		results := make(chan error)
		for _, key := range []string{"a", "b", "c"} {
			go func() {
				_, _, err := f.Do(t.Context(), key, func(ctx context.Context) (string, error) {
					v, _, err := f.Do(ctx, "shared", func(context.Context) (string, error) {
						shared++
						time.Sleep(time.Second)
						return "value", nil
					})
					return v, err
				})
				results <- err
			}()
		}
		for range 3 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 1, shared)
	})
}
