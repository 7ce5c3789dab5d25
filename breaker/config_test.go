package breaker_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/breaker"
)

// Contract: 41
func TestConfigIsValidated(t *testing.T) {
	const huge = time.Duration(math.MaxInt64)
	for want, cfgs := range map[string][]breaker.Config{
		"": {
			{},
			{FailureRatio: 1, SlowCall: huge, SlowRatio: 1, Consecutive: math.MaxInt, MinCalls: math.MaxInt, Window: huge},
			{OpenFor: huge, MaxOpenFor: huge, Probes: math.MaxInt32, ProbeFor: huge, RampFor: huge},
			{FailureRatio: math.SmallestNonzeroFloat64, Window: 10 * time.Millisecond, OpenFor: 1},
			{OpenFor: time.Hour},
		},
		"breaker: Config.FailureRatio must be from 0 to 1": {
			{FailureRatio: -0.1}, {FailureRatio: 1.1}, {FailureRatio: math.NaN()}, {FailureRatio: math.Inf(1)},
		},
		"breaker: Config.SlowCall must not be negative": {{SlowCall: -1}},
		"breaker: Config.SlowRatio must be from 0 to 1": {
			{SlowRatio: -0.1}, {SlowRatio: 2}, {SlowRatio: math.NaN()}, {SlowRatio: math.Inf(-1)},
		},
		"breaker: Config.SlowRatio needs a Config.SlowCall that says what is slow": {{SlowRatio: 0.5}},
		"breaker: Config.Consecutive must not be negative":                         {{Consecutive: -1}},
		"breaker: Config.MinCalls must not be negative":                            {{MinCalls: -1}},
		"breaker: Config.Window must not be negative":                              {{Window: -1}},
		"breaker: Config.Window must be at least 10ms":                             {{Window: 1}},
		"breaker: Config.OpenFor must not be negative":                             {{OpenFor: -1}},
		"breaker: Config.MaxOpenFor must not be negative":                          {{MaxOpenFor: -1}},
		"breaker: Config.MaxOpenFor must not be shorter than Config.OpenFor": {
			{MaxOpenFor: time.Second}, {OpenFor: time.Hour, MaxOpenFor: time.Minute},
		},
		"breaker: Config.Probes must be from 0 to 1<<32 - 1": {{Probes: -1}},
		"breaker: Config.ProbeFor must not be negative":      {{ProbeFor: -1}},
		"breaker: Config.RampFor must not be negative":       {{RampFor: -1}},
	} {
		for _, cfg := range cfgs {
			if want == "" {
				require.NoError(t, cfg.Validate())
				require.NotPanics(t, func() {
					b := breaker.New(cfg)
					for range 100 {
						_ = b.Run(t.Context(), failed)
					}
				})
				continue
			}
			require.EqualError(t, cfg.Validate(), want)
			require.PanicsWithError(t, want, func() { breaker.New(cfg) })
		}
	}
}
