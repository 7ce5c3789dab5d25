package ratelimit_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy { return ratelimit.New(ratelimit.Config{Rate: 1e6, Burst: 1e6}) },
		Judged: func(c stability.Classifier) stability.Policy {
			return ratelimit.New(ratelimit.Config{Rate: 1e9, Burst: 1 << 20, Classify: c})
		},
		Nil:   (*ratelimit.Limiter)(nil),
		Calls: func(p stability.Policy) stability.Calls { return p.(*ratelimit.Limiter).Stats().Calls },
		AtRest: func(t testing.TB, p stability.Policy) {
			require.Zero(t, p.(*ratelimit.Limiter).Stats().Queued)
		},
	}.Run(t)
}
