package bulkhead_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/internal/policytest"
)

func TestContract(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy { return bulkhead.New(bulkhead.Config{Limit: 1000}) },
		Judged: func(c stability.Classifier) stability.Policy {
			return bulkhead.New(bulkhead.Config{Limit: 1000, Classify: c})
		},
		Nil:   (*bulkhead.Bulkhead)(nil),
		Calls: func(p stability.Policy) stability.Calls { return p.(*bulkhead.Bulkhead).Stats().Calls },
		AtRest: func(t testing.TB, p stability.Policy) {
			s := p.(*bulkhead.Bulkhead).Stats()
			require.Zero(t, s.InUse)
			require.Zero(t, s.Queued)
		},
	}.Run(t)
}
