package hedge_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/retry"
)

// Contract: 43
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		budget := retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: 0.2})
		h := hedge.New(hedge.Config{Name: "search", Delay: delay, Budget: budget, MeterProvider: meter})
		policytest.Keep(t, h)
		for _, steps := range [][]step{
			{{}},
			{{err: errCall}},
			{{after: time.Hour}, {}},
			{{after: 2 * delay}, {after: time.Hour}},
			{{after: 2 * delay}},
		} {
			_, _ = hedge.Do(t.Context(), h, newTrack(steps...).call)
		}
		require.Equal(t, map[string]float64{
			"stability.calls{stability.name=search,stability.outcome=success,stability.policy=hedge}":                            4,
			"stability.calls{error.type=_OTHER,stability.name=search,stability.outcome=failure,stability.policy=hedge}":          1,
			"stability.calls{stability.name=search,stability.outcome=ignored,stability.policy=hedge}":                            0,
			"stability.calls{error.type=hedge_rejected,stability.name=search,stability.outcome=rejected,stability.policy=hedge}": 0,
			"stability.hedge.started{stability.name=search,stability.policy=hedge}":                                              2,
			"stability.hedge.won{stability.name=search,stability.policy=hedge}":                                                  1,
			"stability.hedge.suppressed{stability.name=search,stability.policy=hedge}":                                           1,
			"stability.hedge.delay{stability.name=search,stability.policy=hedge}":                                                0.01,
			"stability.budget.usage{stability.name=search,stability.policy=hedge}":                                               2,
			"stability.budget.limit{stability.name=search,stability.policy=hedge}":                                               2,
		}, meter.Values(t))
	})
}

func TestUnlimitedBudgetHasNoMetrics(t *testing.T) {
	meter := policytest.NewMeter()
	h := hedge.New(hedge.Config{Budget: retry.Unlimited(), MeterProvider: meter})
	policytest.Keep(t, h)
	_, err := hedge.Do(t.Context(), h, newTrack(step{}).call)
	require.NoError(t, err)
	for _, m := range meter.Collect(t) {
		require.NotContains(t, m.Name, "budget")
	}
}

func TestEventPerHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Name: "search", Delay: delay, Max: 3})
		require.Equal(t, []string{
			"stability.hedge{stability.hedge.call=2,stability.hedge.delay=0.01,stability.name=search,stability.policy=hedge}",
			"stability.hedge{stability.hedge.call=3,stability.hedge.delay=0.01,stability.name=search,stability.policy=hedge}",
		}, policytest.Events(t, func(span trace.Span) {
			k := newTrack(step{after: time.Hour}, step{after: time.Hour}, step{})
			_, _ = hedge.Do(trace.ContextWithSpan(t.Context(), span), h, k.call)
		}))
	})
}
