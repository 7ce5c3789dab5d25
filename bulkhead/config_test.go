package bulkhead_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/bulkhead"
)

// Contract: 41
func TestConfig(t *testing.T) {
	tests := map[string]struct {
		cfg  bulkhead.Config
		want string // "": valid
	}{
		"zero":               {bulkhead.Config{}, "bulkhead: Config.Limit (0) must be positive"},
		"negative limit":     {bulkhead.Config{Limit: -1}, "bulkhead: Config.Limit (-1) must be positive"},
		"least limit":        {bulkhead.Config{Limit: math.MinInt}, fmt.Sprintf("bulkhead: Config.Limit (%d) must be positive", math.MinInt)},
		"one":                {bulkhead.Config{Limit: 1}, ""},
		"largest limit":      {bulkhead.Config{Limit: 1<<30 - 1}, ""},
		"limit too large":    {bulkhead.Config{Limit: 1 << 30}, "bulkhead: Config.Limit (1073741824) must be at most 1073741823"},
		"overflowing limit":  {bulkhead.Config{Limit: math.MaxInt}, fmt.Sprintf("bulkhead: Config.Limit (%d) must be at most 1073741823", math.MaxInt)},
		"negative queue":     {bulkhead.Config{Limit: 1, Queue: -1}, "bulkhead: Config.Queue (-1) must not be negative"},
		"largest queue":      {bulkhead.Config{Limit: 1, Queue: math.MaxInt}, ""},
		"negative wait":      {bulkhead.Config{Limit: 1, Queue: 1, MaxWait: -1}, "bulkhead: Config.MaxWait (-1ns) must not be negative"},
		"wait without queue": {bulkhead.Config{Limit: 1, MaxWait: time.Second}, "bulkhead: Config.MaxWait (1s) needs a Config.Queue to wait in"},
		"all of it": {
			bulkhead.Config{Limit: -1, Queue: -2, MaxWait: -3},
			"bulkhead: Config.Limit (-1) must be positive\nbulkhead: Config.Queue (-2) must not be negative\nbulkhead: Config.MaxWait (-3ns) must not be negative",
		},
		"longest wait": {bulkhead.Config{Limit: 1, Queue: 1, MaxWait: math.MaxInt64}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.want == "" {
				require.NoError(t, test.cfg.Validate())
				require.NoError(t, bulkhead.New(test.cfg).Run(t.Context(), ok))
				return
			}
			require.EqualError(t, test.cfg.Validate(), test.want)
			require.PanicsWithError(t, test.want, func() { bulkhead.New(test.cfg) })
		})
	}
}

// Contract: 41
func TestSetLimitValidates(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 3})
	for _, limit := range []int{0, -1, math.MinInt, 1 << 30, math.MaxInt} {
		require.EqualError(t, b.SetLimit(limit), fmt.Sprintf("bulkhead: limit %d is not from 1 to 1073741823", limit))
	}
	require.Equal(t, 3, b.Stats().Limit)
	require.NoError(t, b.SetLimit(1<<30-1))
	require.Equal(t, 1<<30-1, b.Stats().Limit)
}
