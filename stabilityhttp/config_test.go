package stabilityhttp_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Contract: 41
func TestConfigValidate(t *testing.T) {
	type config = stabilityhttp.TransportConfig
	classify := stability.Classify
	for _, c := range []struct {
		cfg  config
		says string // "": valid
	}{
		{config{}, ""},
		{config{Timeout: time.Second}, ""}, // the defaults of the rest fit in
		{config{Timeout: 1}, ""},
		{config{Timeout: math.MaxInt64}, ""},
		{config{Timeout: 5 * time.Second, StallTimeout: 5 * time.Second}, ""},
		{config{Off: stabilityhttp.PartTimeout, StallTimeout: time.Hour}, ""},
		{config{Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout | stabilityhttp.PartRetry | stabilityhttp.PartQuota |
			stabilityhttp.PartBulkhead | stabilityhttp.PartBreaker | stabilityhttp.PartDeadlineHeader}, ""},
		{config{RateLimit: ratelimit.Config{Rate: 10}, Hedge: &hedge.Config{}}, ""},
		{config{Timeout: 1, Hedge: &hedge.Config{}}, ""},
		{config{Breaker: breaker.Config{ProbeFor: 10 * time.Second}}, ""},
		{config{Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout, Breaker: breaker.Config{ProbeFor: 1}}, ""},

		{config{Timeout: -1}, "Timeout must not be negative: use Off for none"},
		{config{StallTimeout: -1}, "StallTimeout must not be negative: use Off for none"},
		{config{Off: 1 << 20}, "Off has a part that does not exist"},
		{config{DeadlineHeader: "time left"}, "DeadlineHeader must be the name of a header field"},
		{config{DeadlineHeader: "x-request-attempt"}, `DeadlineHeader must not be "x-request-attempt", which says something else: choose another name`},
		{config{DeadlineHeader: "Host"}, `DeadlineHeader must not be "Host", which says something else: choose another name`},
		{config{DeadlineHeader: "content-length"}, `DeadlineHeader must not be "content-length", which says something else: choose another name`},
		{config{DeadlineHeader: "Transfer-Encoding"}, `DeadlineHeader must not be "Transfer-Encoding", which says something else: choose another name`},
		{config{DeadlineHeader: "CONNECTION"}, `DeadlineHeader must not be "CONNECTION", which says something else: choose another name`},
		{config{DeadlineHeader: "TE"}, `DeadlineHeader must not be "TE", which says something else: choose another name`},
		{config{Keys: stability.Keys{Max: -1}}, "Keys.Max (-1) must not be negative"},

		{config{Retry: retry.Config{Attempts: -1}}, "Retry: retry: Config.Attempts (-1) must not be negative"},
		{config{Bulkhead: bulkhead.Config{Limit: -1}}, "Bulkhead: bulkhead: Config.Limit (-1) must be positive"},
		{config{Bulkhead: bulkhead.Config{Limit: 5, MaxWait: 1}}, "Bulkhead: bulkhead: Config.MaxWait (1ns) needs a Config.Queue to wait in"},
		{config{Breaker: breaker.Config{FailureRatio: math.NaN()}}, "Breaker: breaker: Config.FailureRatio (NaN) must be from 0 to 1"},
		{config{RateLimit: ratelimit.Config{Burst: 5}}, "RateLimit: ratelimit: Config.Rate (0) must be positive and finite"},
		{config{RateLimit: ratelimit.Config{Rate: math.Inf(1)}}, "RateLimit: ratelimit: Config.Rate (+Inf) must be positive and finite"},
		{config{Hedge: &hedge.Config{Delay: -1}}, "Hedge: hedge: Config.Delay (-1ns) must not be negative"},

		{config{Retry: retry.Config{Classify: classify}}, "Retry.Classify is not asked: set TransportConfig.Classify"},
		{config{Retry: retry.Config{Retryable: func(error) bool { return true }}}, "Retry.Retryable is not asked: set TransportConfig.Retryable"},
		{config{Bulkhead: bulkhead.Config{Classify: classify}}, "Bulkhead.Classify is not asked: set TransportConfig.Classify"},
		{config{Breaker: breaker.Config{Classify: classify}}, "Breaker.Classify is not asked: set TransportConfig.Classify"},
		{config{RateLimit: ratelimit.Config{Rate: 1, Classify: classify}}, "RateLimit.Classify is not asked: set TransportConfig.Classify"},
		{config{Hedge: &hedge.Config{Classify: classify}}, "Hedge.Classify is not asked: set TransportConfig.Classify"},

		{config{Hedge: &hedge.Config{Key: func(context.Context) string { return "" }}}, "Hedge.Key is not asked: set TransportConfig.Key"},
		{config{Hedge: &hedge.Config{Keys: stability.Keys{Max: 1}}}, "Hedge.Keys is not asked: set TransportConfig.Keys"},

		{config{Off: stabilityhttp.PartBreaker, Breaker: breaker.Config{Consecutive: 1}}, "Breaker is configured and Off has PartBreaker: drop one of them"},
		{config{Off: stabilityhttp.PartTimeout, Timeout: 1}, "Timeout is configured and Off has PartTimeout: drop one of them"},
		{config{Off: stabilityhttp.PartRetry, Retry: retry.Config{Attempts: 2}}, "Retry is configured and Off has PartRetry: drop one of them"},
		{config{Timeout: 5 * time.Second, StallTimeout: 6 * time.Second}, "StallTimeout (6s) is longer than Timeout (5s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{StallTimeout: time.Minute}, "StallTimeout (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Bulkhead: bulkhead.Config{Limit: 1, Queue: 1, MaxWait: time.Minute}}, "Bulkhead.MaxWait (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Breaker: breaker.Config{SlowCall: time.Minute}}, "Breaker.SlowCall (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Retry: retry.Config{Base: time.Minute}}, "Retry.Base (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Hedge: &hedge.Config{Delay: time.Minute}}, "Hedge.Delay (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Hedge: &hedge.Config{MinDelay: time.Minute, MaxDelay: time.Hour}}, "Hedge.MinDelay (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Hedge: &hedge.Config{MaxDelay: time.Minute}}, "Hedge.MaxDelay (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
		{config{Breaker: breaker.Config{ProbeFor: 10*time.Second - 1}}, "Breaker.ProbeFor (9.999999999s) is shorter than StallTimeout (10s), so that a probe which is answered in time is given up as failed: lengthen ProbeFor, or shorten StallTimeout"},
		{config{Off: stabilityhttp.PartTimeout, StallTimeout: time.Minute, Breaker: breaker.Config{ProbeFor: time.Second}}, "Breaker.ProbeFor (1s) is shorter than StallTimeout (1m0s), so that a probe which is answered in time is given up as failed: lengthen ProbeFor, or shorten StallTimeout"},
		{config{Off: stabilityhttp.PartStallTimeout, Breaker: breaker.Config{ProbeFor: time.Second}}, "Breaker.ProbeFor (1s) is shorter than Timeout (30s), so that a probe which is answered in time is given up as failed: lengthen ProbeFor, or shorten Timeout"},
		{config{RateLimit: ratelimit.Config{Rate: 1, MaxWait: time.Minute}}, "RateLimit.MaxWait (1m0s) is longer than Timeout (30s), which ends the request before: shorten it, or lengthen Timeout"},
	} {
		if c.says == "" {
			require.NoError(t, c.cfg.Validate())
			require.NotPanics(t, func() { stabilityhttp.NewTransport(nil, c.cfg) })
			continue
		}
		err := c.cfg.Validate()
		require.EqualError(t, err, "stabilityhttp: TransportConfig."+c.says)
		require.PanicsWithError(t, err.Error(), func() { stabilityhttp.NewTransport(nil, c.cfg) })
		require.PanicsWithError(t, err.Error(), func() { stabilityhttp.NewClient(c.cfg) })
	}
}
