package breaker_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// Contract: 41
func TestConfigIsValidated(t *testing.T) {
	const huge = time.Duration(math.MaxInt64)
	for _, cfg := range []breaker.Config{
		{},
		{FailureRatio: 1, SlowCall: huge, SlowRatio: 1, Consecutive: math.MaxInt, MinCalls: math.MaxInt, Window: huge},
		{OpenFor: huge, MaxOpenFor: huge, Probes: math.MaxInt32, ProbeFor: huge, RampFor: huge},
		{FailureRatio: math.SmallestNonzeroFloat64, Window: 10 * time.Millisecond, OpenFor: 1},
		{OpenFor: time.Hour},
	} {
		require.NoError(t, cfg.Validate())
		require.NotPanics(t, func() {
			b := breaker.New(cfg)
			for range 100 {
				_ = b.Run(t.Context(), failed)
			}
		})
	}
	for want, cfg := range map[string]breaker.Config{
		"FailureRatio (-0.1) must be from 0 to 1":                     {FailureRatio: -0.1},
		"FailureRatio (1.1) must be from 0 to 1":                      {FailureRatio: 1.1},
		"FailureRatio (NaN) must be from 0 to 1":                      {FailureRatio: math.NaN()},
		"FailureRatio (+Inf) must be from 0 to 1":                     {FailureRatio: math.Inf(1)},
		"SlowCall (-1ns) must not be negative":                        {SlowCall: -1},
		"SlowRatio (-0.1) must be from 0 to 1":                        {SlowRatio: -0.1},
		"SlowRatio (2) must be from 0 to 1":                           {SlowRatio: 2, SlowCall: 1},
		"SlowRatio (NaN) must be from 0 to 1":                         {SlowRatio: math.NaN()},
		"SlowRatio (-Inf) must be from 0 to 1":                        {SlowRatio: math.Inf(-1)},
		"SlowRatio (0.5) needs a SlowCall that says what is slow":     {SlowRatio: 0.5},
		"Consecutive (-1) must not be negative":                       {Consecutive: -1},
		"MinCalls (-1) must not be negative":                          {MinCalls: -1},
		"Window (-1ns) must be at least 10ms":                         {Window: -1},
		"Window (1ns) must be at least 10ms":                          {Window: 1},
		"OpenFor (-1ns) must not be negative":                         {OpenFor: -1},
		"MaxOpenFor (-1ns) must not be negative":                      {MaxOpenFor: -1},
		"MaxOpenFor (1s) must not be shorter than OpenFor (5s)":       {MaxOpenFor: time.Second},
		"MaxOpenFor (1m0s) must not be shorter than OpenFor (1h0m0s)": {OpenFor: time.Hour, MaxOpenFor: time.Minute},
		"Probes (-1) must be from 0 to 1<<32 - 1":                     {Probes: -1},
		"ProbeFor (-1ns) must not be negative":                        {ProbeFor: -1},
		"RampFor (-1ns) must not be negative":                         {RampFor: -1},
	} {
		want = "breaker: Config." + want
		require.EqualError(t, cfg.Validate(), want)
		require.PanicsWithError(t, want, func() { breaker.New(cfg) })
		require.PanicsWithError(t, want, func() { breaker.NewGroup(cfg, stability.Keys{}) })
	}
	require.EqualError(t, breaker.Config{MinCalls: -1, Probes: -2}.Validate(),
		"breaker: Config.MinCalls (-1) must not be negative\nbreaker: Config.Probes (-2) must be from 0 to 1<<32 - 1")
}
