package stability_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// Contract: 41
func TestKeys(t *testing.T) {
	for _, k := range []stability.Keys{{}, {Max: 1, IdleFor: 1}, {Max: math.MaxInt, IdleFor: math.MaxInt64}} {
		require.NoError(t, k.Validate())
	}
	for _, n := range []int{-1, math.MinInt} {
		require.EqualError(t, stability.Keys{Max: n}.Validate(), fmt.Sprintf("Keys.Max (%d) must not be negative", n))
		require.EqualError(t, stability.Keys{IdleFor: time.Duration(n)}.Validate(), fmt.Sprintf("Keys.IdleFor (%v) must not be negative", time.Duration(n)))
	}
}
