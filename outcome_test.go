package stability_test

import (
	"context"
	"encoding/json"
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
		"a refusal beside a failure":              {t.Context(), errors.Join(errCall, refusal), stability.Failure},
		"refusals only":                           {t.Context(), errors.Join(refusal, nil, refusal), stability.Ignored},
		"a refusal by another name":               {t.Context(), fmt.Errorf("%w: %w", errCall, refusal), stability.Ignored},
		"the reason of a refusal alone":           {t.Context(), stability.NewReason("full"), stability.Ignored},
		"overload":                                {t.Context(), shed(true), stability.Ignored},
		"overload wrapped":                        {t.Context(), fmt.Errorf("call: %w", shed(true)), stability.Ignored},
		"overload by another name":                {t.Context(), fmt.Errorf("%w: %w", errCall, shed(true)), stability.Ignored},
		"overload beside a failure":               {t.Context(), errors.Join(errCall, shed(true)), stability.Failure},
		"overload beside a refusal":               {t.Context(), errors.Join(refusal, shed(true)), stability.Ignored},
		"an answer that is no overload":           {t.Context(), shed(false), stability.Failure},
		"judged a success":                        {t.Context(), stability.Judge(stability.Success, errCall), stability.Success},
		"judged, and wrapped":                     {t.Context(), fmt.Errorf("call: %w", stability.Judge(stability.Ignored, errCall)), stability.Ignored},
		"judged a failure after the caller left":  {canceled, stability.Judge(stability.Failure, nil), stability.Failure},
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
	for _, o := range []stability.Outcome{stability.Success, stability.Failure, stability.Ignored} {
		never := stability.Classifier(func(context.Context, error) stability.Outcome {
			t.Error("asked about a call that is judged")
			return 3
		})
		require.Equal(t, o, never.Outcome(t.Context(), stability.Judge(o, errCall)))
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

func TestOutcomeText(t *testing.T) {
	for _, o := range []stability.Outcome{stability.Failure, stability.Success, stability.Ignored} {
		text, err := json.Marshal(o)
		require.NoError(t, err)
		require.JSONEq(t, `"`+o.String()+`"`, string(text))
		read := stability.Outcome(9)
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, o, read)
	}
	var o stability.Outcome
	require.ErrorContains(t, o.UnmarshalText([]byte("fine")), `"fine" is no outcome`)
}

func TestJudge(t *testing.T) {
	require.NoError(t, stability.Judge(stability.Success, nil))
	require.EqualError(t, stability.Judge(stability.Failure, nil), "stability: call judged as failure")
	require.EqualError(t, stability.Judge(stability.Ignored, nil), "stability: call judged as ignored")
	err := stability.Judge(stability.Ignored, fmt.Errorf("call: %w", errCall))
	require.ErrorIs(t, err, errCall)
	require.EqualError(t, err, "call: "+errCall.Error())
	require.NoError(t, errors.Unwrap(stability.Judge(stability.Failure, nil)))
}

// shed is what the other side answered.
type shed bool

func (shed) Error() string      { return "not now" }
func (s shed) Overloaded() bool { return bool(s) }

// Contract: 47
func TestOverloaded(t *testing.T) {
	require.True(t, stability.Overloaded(shed(true)))
	require.True(t, stability.Overloaded(fmt.Errorf("call: %w", shed(true))))
	require.True(t, stability.Overloaded(errors.Join(errCall, shed(true))))
	for _, err := range []error{nil, errCall, shed(false), &stability.Rejection{}, fmt.Errorf("%w", shed(false))} {
		require.False(t, stability.Overloaded(err), "%v", err)
	}
}

func TestCalls(t *testing.T) {
	c := stability.Calls{Succeeded: 1, Failed: 20, Ignored: 300, Rejected: 4000}
	require.EqualValues(t, 321, c.Started())
}
