package retry

import (
	"context"

	"github.com/crumplezone/stability/internal/attempts"
)

// Attempt returns the number of the attempt that ctx belongs to, as the outermost
// [Retry] around it counts: 1 for the first, 0 where there is no Retry.
//
// Under an attempt of an outer Retry, an inner one calls once and returns the
// error as it is. Otherwise the tiers of a system multiply: five that try three
// times each are 243 calls to the last (Brooker, Timeouts, Retries, and Backoff
// with Jitter, Amazon Builders' Library, 2019). The outermost decides, because it
// alone knows the deadline of the whole, and because it can be known before the
// first call is sent, by a mark in the context, which the code in between does not
// lose as easily as it loses the kind of an error. Where the mark is lost all the
// same, the [Error] of the inner Retry stops the outer one.
//
// A client that sends the number with its request (stabilityhttp does), and a
// server that takes it up with [WithAttempt], make this hold between processes.
func Attempt(ctx context.Context) int { return attempts.Of(ctx).Number() }

// WithAttempt returns a context that belongs to the given attempt of a Retry
// further out, which need not be in this process. With attempt 0, or less, it
// belongs to none, and retries are made again under it: for a long piece of work
// that is retried as a whole, and whose single calls are to be retried too.
func WithAttempt(ctx context.Context, attempt int) context.Context {
	return &attempts.Mark{Context: ctx, Attempt: max(attempt, 0)}
}
