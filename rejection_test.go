package stability_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

var errFull = errors.New("bulkhead: full")

func TestRejectionError(t *testing.T) {
	for want, r := range map[string]stability.Rejection{
		"stability: call rejected": {},
		"bulkhead: call rejected":  {Policy: "bulkhead"},
		"bulkhead: full":           {Policy: "bulkhead", Reason: errFull},
		"payments: bulkhead: full": {Policy: "bulkhead", Name: "payments", Reason: errFull},
		"full, retry after 4.9s":   {Reason: errors.New("full"), RetryAfter: 4_867_039_007},
		"full, retry after 27ms":   {Reason: errors.New("full"), RetryAfter: 26_700_000},
		"full, retry after 99ns":   {Reason: errors.New("full"), RetryAfter: 99},
		"full, retry after 1m40s":  {Reason: errors.New("full"), RetryAfter: 99_999 * time.Millisecond},
		"payments[eu-1]: bulkhead: full, retry after 1.5s": {
			Policy: "bulkhead", Name: "payments", Key: "eu-1", Reason: errFull, RetryAfter: 1500 * time.Millisecond,
		},
		"[eu-1]: bulkhead: full":                  {Policy: "bulkhead", Key: "eu-1", Reason: errFull},
		"bulkhead: call rejected, retry after 1s": {Policy: "bulkhead", RetryAfter: time.Second},
		"limiter: call rejected":                  {Policy: "limiter", RetryAfter: -time.Second},
		"payments: stability: call rejected":      {Name: "payments"},
	} {
		require.EqualError(t, &r, want)
	}
}

func TestRejectionIsFound(t *testing.T) {
	r := &stability.Rejection{Policy: "bulkhead", Reason: fmt.Errorf("%w: late", errFull)}
	for err, notSent := range map[error]bool{
		r:                                true,
		fmt.Errorf("call: %w", r):        true,
		fmt.Errorf("%w: %w", errCall, r): true,
		errors.Join(r, r):                true,
		errors.Join(errCall, r):          false,
	} {
		require.ErrorIs(t, err, stability.ErrRejected)
		require.ErrorIs(t, err, errFull)
		require.NotErrorIs(t, err, stability.ErrNoReturn)
		require.Equal(t, notSent, stability.Rejected(err), "%v", err)
		var found *stability.Rejection
		require.ErrorAs(t, err, &found)
		require.Same(t, r, found)
	}
	for _, err := range []error{nil, errCall, errFull} {
		require.False(t, stability.Rejected(err))
	}
	require.True(t, stability.Rejected(stability.ErrRejected))
	reason := stability.NewReason("limiter: full")
	require.EqualError(t, reason, "limiter: full")
	require.True(t, stability.Rejected(reason))
	require.NotErrorIs(t, reason, stability.NewReason("limiter: full"), "each is a sentinel of its own")
	require.NoError(t, (&stability.Rejection{}).Unwrap())
}

func TestErrorType(t *testing.T) {
	require.Equal(t, "bulkhead_rejected", (&stability.Rejection{Policy: "bulkhead", Name: "payments", Key: "eu-1"}).ErrorType())
	require.Equal(t, "rejected", (&stability.Rejection{}).ErrorType())
}

// pushback is an error that asks its caller to wait.
type pushback time.Duration

func (p pushback) Error() string           { return "busy" }
func (p pushback) Pushback() time.Duration { return time.Duration(p) }

func TestRetryAfter(t *testing.T) {
	after := func(d time.Duration) error { return &stability.Rejection{RetryAfter: d} }
	tests := map[string]struct {
		err  error
		want time.Duration
	}{
		"nil":                     {nil, 0},
		"silent":                  {errCall, 0},
		"rejection":               {after(time.Second), time.Second},
		"rejection, unknown":      {after(0), 0},
		"rejection, negative":     {after(-time.Second), 0},
		"rejection, wrapped":      {fmt.Errorf("call: %w", after(time.Minute)), time.Minute},
		"rejection, huge":         {after(math.MaxInt64), math.MaxInt64},
		"pushback":                {pushback(time.Second), time.Second},
		"pushback, negative":      {pushback(math.MinInt64), 0},
		"pushback, wrapped":       {fmt.Errorf("call: %w", pushback(time.Second)), time.Second},
		"pushback, joined":        {errors.Join(errCall, pushback(time.Second)), time.Second},
		"rejection over pushback": {errors.Join(pushback(time.Second), after(time.Minute)), time.Minute},
		"pushback as the reason":  {&stability.Rejection{RetryAfter: time.Minute, Reason: pushback(time.Second)}, time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, stability.RetryAfter(test.err)) })
	}
}
