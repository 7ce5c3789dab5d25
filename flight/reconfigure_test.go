package flight_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/flight"
)

// Values that are kept stay, as far as the new bounds let them; calls on their way go on.
//
// Contract: 56
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errDown := errors.New("down")
		f := flight.New[string](flight.Config{Name: "prices", StaleIfError: time.Hour})
		answer := func(v string, err error) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { return v, err }
		}
		for n := range 10 {
			_, _, err := f.Do(t.Context(), strconv.Itoa(n), answer("good", nil))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		require.NoError(t, f.Reconfigure(flight.Config{Name: "another", StaleIfError: time.Minute, MaxStale: 3}))
		require.Equal(t, "prices", f.Config().Name)
		require.Equal(t, 3, f.Stats().Kept, "the latest")
		v, degraded, err := f.Do(t.Context(), "9", answer("", errDown))
		require.NoError(t, err)
		require.Equal(t, "good", v)
		require.NotNil(t, degraded)
		_, _, err = f.Do(t.Context(), "0", answer("", errDown))
		require.ErrorIs(t, err, errDown)

		require.Error(t, f.Reconfigure(flight.Config{StaleIfError: -1}))
		require.Error(t, f.Reconfigure(flight.Config{MaxStale: 1}))
		require.Equal(t, 3, f.Config().MaxStale, "what is not usable changes nothing")

		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				v, _, err := f.Do(t.Context(), "slow", func(context.Context) (string, error) {
					time.Sleep(time.Second)
					return "slow", nil
				})
				require.NoError(t, err)
				require.Equal(t, "slow", v)
			})
		}
		synctest.Wait()
		require.NoError(t, f.Reconfigure(flight.Config{}))
		require.Zero(t, f.Stats().Kept)
		wg.Wait()
		require.Zero(t, f.Stats().Kept)
		require.EqualValues(t, 4, f.Stats().Shared)

		require.NoError(t, f.Reconfigure(flight.Config{StaleIfError: time.Minute}))
		require.Equal(t, 1024, f.Config().MaxStale)
		_, _, _ = f.Do(t.Context(), "a", answer("good", nil))
		require.Equal(t, 1, f.Stats().Kept)
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight.New[int](flight.Config{})
		var calls atomic.Int64
		together := func() int64 {
			calls.Store(0)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, _, _ = f.Do(t.Context(), "a", func(context.Context) (int, error) {
						calls.Add(1)
						time.Sleep(time.Second)
						return 0, nil
					})
				})
			}
			wg.Wait()
			return calls.Load()
		}
		require.EqualValues(t, 1, together())
		require.NoError(t, f.SetMode(stability.ModeOff))
		require.EqualValues(t, 10, together())
		require.NoError(t, f.Reconfigure(flight.Config{}))
		require.Equal(t, stability.ModeOff, f.Stats().Mode, "a mode stays")
		require.Error(t, f.SetMode(stability.ModeOpen))
		require.NoError(t, f.SetMode(stability.ModeOn))
		require.EqualValues(t, 1, together())
		var none *flight.Flights[int]
		require.NoError(t, none.SetMode(stability.ModeOff))
		require.NoError(t, none.Reconfigure(flight.Config{StaleIfError: -1}))
		require.Zero(t, none.Config())
	})
}

// Contract: 45, 56
func TestReconfigureUnderLoad(t *testing.T) {
	f := flight.New[int](flight.Config{})
	var wg, changes sync.WaitGroup
	var stop atomic.Bool
	changes.Go(func() {
		for n := 0; !stop.Load(); n++ {
			if err := f.Reconfigure(flight.Config{StaleIfError: time.Duration(n%2) * time.Hour}); err != nil {
				t.Error(err)
			}
			_ = f.SetMode(stability.ModeOff * stability.Mode(n%3/2))
		}
	})
	for g := range 16 {
		wg.Go(func() {
			for n := range 500 {
				v, degraded, err := f.Do(context.Background(), strconv.Itoa(n%7), func(context.Context) (int, error) {
					if (g+n)%5 == 0 {
						return 0, errors.New("down")
					}
					return n % 7, nil
				})
				if err == nil && v != n%7 {
					t.Errorf("%d of another key: %v", v, degraded)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	changes.Wait()
	require.Zero(t, f.Stats().Running)
}
