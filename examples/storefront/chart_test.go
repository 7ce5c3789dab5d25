package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScales(t *testing.T) {
	plain := func(float64) string { return "" }
	for top, want := range map[float64][]float64{
		0:    {0, 1},
		3:    {0, 1, 2, 3},
		7:    {0, 2, 4, 6, 8},
		3431: {0, 1000, 2000, 3000, 4000},
	} {
		s := linear(top, plain)
		require.Equal(t, want, s.ticks, "up to %v", top)
		require.InDelta(t, plotBottom, s.y(0), 1e-9)
		require.InDelta(t, plotTop, s.y(s.max), 1e-9)
	}
	log := scale{log: 0.001, max: 10}
	require.InDelta(t, plotBottom, log.y(0), 1e-9, "below the least value")
	require.InDelta(t, (plotTop+plotBottom)/2, log.y(0.1), 1e-9)
	require.InDelta(t, plotTop, log.y(100), 1e-9, "above the greatest")
}

func TestTimeline(t *testing.T) {
	tl := newTimeline(19 * time.Second)
	require.Equal(t, 500*ms, tl.bin)
	require.Equal(t, 38, tl.bins())
	require.Equal(t, 0, tl.index(0))
	require.Equal(t, 37, tl.index(19*time.Second-1))
	require.Equal(t, -1, tl.index(19*time.Second))
	require.Equal(t, -1, tl.index(-1))
	require.Equal(t, 50*ms, newTimeline(30*ms).bin)

	line := tl.path(linear(4, nil), []float64{1, 2, math.NaN(), 3})
	require.Equal(t, 2, strings.Count(line, "M"), "the line is broken where nothing is known")
	require.Equal(t, 1, strings.Count(line, "L"))
}
