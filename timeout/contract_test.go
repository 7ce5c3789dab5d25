package timeout_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/policytest"
	"github.com/crumplezone/stability/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	policytest.Policy{
		New: func() stability.Policy { return timeout.New(timeout.Config{After: time.Hour}) },
		Judged: func(c stability.Classifier) stability.Policy {
			return timeout.New(timeout.Config{After: time.Hour, Classify: c})
		},
		Nil:       (*timeout.Timeout)(nil),
		Calls:     func(p stability.Policy) stability.Calls { return p.(*timeout.Timeout).Stats().Calls },
		AtRest:    func(testing.TB, stability.Policy) {},
		Allocates: 1,
	}.Run(t)
}
