package breaker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/internal/policytest"
)

func TestContract(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy { return breaker.New(breaker.Config{MinCalls: 1 << 30}) },
		Judged: func(c stability.Classifier) stability.Policy {
			return breaker.New(breaker.Config{MinCalls: 1 << 30, Classify: c})
		},
		Nil:   (*breaker.Breaker)(nil),
		Calls: func(p stability.Policy) stability.Calls { return p.(*breaker.Breaker).Stats().Calls },
		AtRest: func(t testing.TB, p stability.Policy) {
			require.Zero(t, p.(*breaker.Breaker).Stats().Probing)
		},
	}.Run(t)
}
