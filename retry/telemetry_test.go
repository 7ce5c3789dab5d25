package retry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/retry"
)

// Contract: 43
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := policytest.NewMeter()
		budget := retry.NewBudget(retry.BudgetConfig{Ratio: 1e-9, MinPerSecond: 0.5})
		r := retry.New(retry.Config{Name: "payments", Budget: budget, MeterProvider: meter})
		policytest.Keep(t, r)
		_ = r.Run(t.Context(), ok)
		fn, _ := failing(1, errCall)
		_ = r.Run(t.Context(), fn) // one token
		calls := 0
		_ = r.Run(t.Context(), func(context.Context) error {
			if calls++; calls > 1 {
				return &stability.Rejection{}
			}
			return errCall
		})
		fails, _ := failing(always, errCall)
		_ = r.Run(t.Context(), fails)
		_ = r.Run(t.Context(), fails)
		_ = r.Run(t.Context(), func(context.Context) error { return &stability.Rejection{} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = r.Run(ctx, func(context.Context) error { return pushback(time.Hour) })
		_ = r.Run(t.Context(), func(context.Context) error { return pushback(time.Hour) })

		require.Equal(t, map[string]float64{
			"stability.calls{stability.name=payments,stability.outcome=success,stability.policy=retry}":                            2,
			"stability.calls{error.type=_OTHER,stability.name=payments,stability.outcome=failure,stability.policy=retry}":          5,
			"stability.calls{stability.name=payments,stability.outcome=ignored,stability.policy=retry}":                            1,
			"stability.calls{error.type=retry_rejected,stability.name=payments,stability.outcome=rejected,stability.policy=retry}": 0,
			"stability.retry.attempts{stability.name=payments,stability.policy=retry}":                                             13,
			"stability.retry.exhausted{error.type=retry_exhausted,stability.name=payments,stability.policy=retry}":                 1,
			"stability.retry.exhausted{error.type=retry_budget,stability.name=payments,stability.policy=retry}":                    1,
			"stability.retry.exhausted{error.type=retry_deadline,stability.name=payments,stability.policy=retry}":                  1,
			"stability.retry.exhausted{error.type=retry_pushback,stability.name=payments,stability.policy=retry}":                  1,
			"stability.retry.exhausted{error.type=retry_refused,stability.name=payments,stability.policy=retry}":                   1,
			"stability.budget.usage{stability.name=payments,stability.policy=retry}":                                               5,
			"stability.budget.limit{stability.name=payments,stability.policy=retry}":                                               5,
		}, meter.Values(t))
		time.Sleep(time.Hour)
		require.Zero(t, meter.Values(t)["stability.budget.usage{stability.name=payments,stability.policy=retry}"], "true at the moment of reading")
	})
}

func TestUnlimitedBudgetHasNoMetrics(t *testing.T) {
	meter := policytest.NewMeter()
	r := retry.New(retry.Config{Budget: retry.Unlimited(), MeterProvider: meter})
	policytest.Keep(t, r)
	require.NoError(t, r.Run(t.Context(), ok))
	for _, m := range meter.Collect(t) {
		require.NotContains(t, m.Name, "budget")
	}
}

func TestEventPerRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Name: "payments", Base: time.Second, Jitter: longest})
		fn, _ := failing(2, errCall)
		require.Equal(t, []string{
			"stability.retry{stability.name=payments,stability.policy=retry,stability.retry.attempt=2,stability.retry.pause=1}",
			"stability.retry{stability.name=payments,stability.policy=retry,stability.retry.attempt=3,stability.retry.pause=2}",
		}, policytest.Events(t, func(span trace.Span) {
			_ = r.Run(trace.ContextWithSpan(t.Context(), span), fn)
		}))
	})
}

func TestErrorType(t *testing.T) {
	for want, reason := range map[string]error{
		"retry_exhausted": retry.ErrExhausted,
		"retry_budget":    retry.ErrBudget,
		"retry_deadline":  retry.ErrDeadline,
		"retry_pushback":  retry.ErrPushback,
		"retry_refused":   retry.ErrRefused,
		"retry_canceled":  context.Canceled,
		"_OTHER":          nil,
	} {
		err := &retry.Error{Reason: reason, Attempts: 1, Errors: []error{errCall}}
		require.Equal(t, want, err.ErrorType())
	}
	passed := &retry.Error{Reason: context.DeadlineExceeded, Attempts: 1, Errors: []error{errCall}}
	require.Equal(t, "retry_deadline", passed.ErrorType())
	require.NotErrorIs(t, passed, retry.ErrDeadline)
	require.EqualError(t, passed, "retry: context deadline exceeded (attempt 1: the call's own error)")
}
