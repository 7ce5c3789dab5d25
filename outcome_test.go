package stability_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// Contract: 2, 5, 6
func TestClassify(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	refusal := &stability.Rejection{Policy: "inner"}
	tests := map[string]struct {
		ctx  context.Context
		err  error
		want stability.Outcome
	}{
		"success":                                 {t.Context(), nil, stability.Success},
		"success though the caller left":          {canceled, nil, stability.Success},
		"success though the deadline passed":      {expired, nil, stability.Success},
		"error":                                   {t.Context(), errCall, stability.Failure},
		"the caller canceled":                     {canceled, canceled.Err(), stability.Ignored},
		"an error after the caller canceled":      {canceled, errCall, stability.Ignored},
		"a cancellation that is not the caller's": {t.Context(), context.Canceled, stability.Failure},
		"the caller's deadline passed":            {expired, expired.Err(), stability.Failure},
		"a deadline further in":                   {t.Context(), context.DeadlineExceeded, stability.Failure},
		"refused further in":                      {t.Context(), refusal, stability.Ignored},
		"a refusal wrapped":                       {t.Context(), fmt.Errorf("call: %w", refusal), stability.Ignored},
		"a refusal among others":                  {t.Context(), errors.Join(errCall, refusal), stability.Ignored},
		"refused after the deadline":              {expired, refusal, stability.Ignored},
		"did not return":                          {t.Context(), stability.ErrNoReturn, stability.Failure},
		"did not return, and the caller canceled": {canceled, stability.ErrNoReturn, stability.Failure},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, stability.Classify(test.ctx, test.err))
			require.Equal(t, test.want, stability.Classifier(nil).Outcome(test.ctx, test.err), "the nil Classifier")
		})
	}
}

func TestClassifier(t *testing.T) {
	answers := func(o stability.Outcome) stability.Classifier {
		return func(ctx context.Context, err error) stability.Outcome {
			require.Equal(t, t.Context(), ctx)
			require.Equal(t, errCall, err)
			return o
		}
	}
	for o, want := range map[stability.Outcome]stability.Outcome{
		stability.Success: stability.Success,
		stability.Failure: stability.Failure,
		stability.Ignored: stability.Ignored,
		3:                 stability.Failure,
		255:               stability.Failure,
	} {
		require.Equal(t, want, answers(o).Outcome(t.Context(), errCall), "answer %d", o)
	}
	never := stability.Classifier(func(context.Context, error) stability.Outcome {
		t.Error("asked about a call that did not return")
		return stability.Success
	})
	require.Equal(t, stability.Failure, never.Outcome(t.Context(), stability.ErrNoReturn))
}

func TestOutcomeString(t *testing.T) {
	var zero stability.Outcome
	require.Equal(t, stability.Failure, zero, "what nobody judged counts against the dependency")
	require.Equal(t, "failure", stability.Failure.String())
	require.Equal(t, "success", stability.Success.String())
	require.Equal(t, "ignored", stability.Ignored.String())
	require.Equal(t, "failure", stability.Outcome(9).String())
}

func TestCalls(t *testing.T) {
	c := stability.Calls{Succeeded: 1, Failed: 20, Ignored: 300, Rejected: 4000}
	require.EqualValues(t, 321, c.Started())
}
