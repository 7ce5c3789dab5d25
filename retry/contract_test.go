package retry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/retry"
)

// The suite's calls end in errors that must come back as they are, so nothing is
// retryable here. What retrying adds is tested beside it.
//
// Contract: 44
func TestContract(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy {
			return retry.New(retry.Config{Retryable: func(error) bool { return false }})
		},
		Judged: func(c stability.Classifier) stability.Policy {
			return retry.New(retry.Config{Attempts: 1, Classify: c})
		},
		Nil:   (*retry.Retry)(nil),
		Calls: func(p stability.Policy) stability.Calls { return p.(*retry.Retry).Stats().Calls },
		AtRest: func(t testing.TB, p stability.Policy) {
			require.Zero(t, p.(*retry.Retry).Stats().Budget.Spent)
		},
		Allocates: 2, // the context of the attempt, and what stability.Do needs around a Policy
	}.Run(t)
}

// around is a Retry that is used by its Around.
type around struct{ *retry.Retry }

func (r around) Run(ctx context.Context, fn func(context.Context) error) error {
	return r.Around(ctx, bare{}, fn)
}

type bare struct{}

func (bare) Run(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

// Contract: 44
func TestContractOfAround(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy {
			return around{retry.New(retry.Config{Retryable: func(error) bool { return false }})}
		},
		Judged: func(c stability.Classifier) stability.Policy {
			return around{retry.New(retry.Config{Attempts: 1, Classify: c})}
		},
		Nil:   around{},
		Calls: func(p stability.Policy) stability.Calls { return p.(around).Stats().Calls },
		AtRest: func(t testing.TB, p stability.Policy) {
			require.Zero(t, p.(around).Stats().Budget.Spent)
		},
		Allocates: 2,
	}.Run(t)
}
