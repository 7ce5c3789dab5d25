package retry

import "context"

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
func Attempt(ctx context.Context) int { return markOf(ctx).number() }

// WithAttempt returns a context that belongs to the given attempt of a Retry
// further out, which need not be in this process. With attempt 0, or less, it
// belongs to none, and retries are made again under it: for a long piece of work
// that is retried as a whole, and whose single calls are to be retried too.
func WithAttempt(ctx context.Context, attempt int) context.Context {
	return &mark{Context: ctx, attempt: max(attempt, 0)}
}

// A mark is a context that says which attempt it belongs to, and which budget has
// earned by it.
type mark struct {
	context.Context
	attempt int
	budget  *Budget // nil: none
	own     bool    // a Retry of this process counts the attempts, and makes others
}

type markKey struct{}

// Value implements [context.Context].
func (m *mark) Value(key any) any {
	if key == (markKey{}) {
		return m
	}
	return m.Context.Value(key)
}

// markOf returns the innermost mark of ctx, or nil.
func markOf(ctx context.Context) *mark {
	m, _ := ctx.Value(markKey{}).(*mark)
	return m
}

func (m *mark) isOwn() bool { return m != nil && m.own }

// Detached returns what is left of the mark where the call of one caller is made for
// several. What came from outside the process is that caller's own affair: another's call
// is retried all the same.
func (m *mark) Detached() any {
	for ; m != nil; m = markOf(m.Context) {
		if m.own {
			return m
		}
		if m.attempt == 0 && m.budget == nil {
			break // WithAttempt 0: what is made under it are calls of their own
		}
	}
	return nil
}

func (m *mark) number() int {
	if m == nil {
		return 0
	}
	return m.attempt
}

// earned reports whether b has earned by the call that m belongs to.
func (m *mark) earned(b *Budget) bool {
	for ; m != nil; m = markOf(m.Context) {
		if m.budget == b {
			return true
		}
		if m.attempt == 0 && m.budget == nil {
			return false // WithAttempt 0: what is made under it are calls of their own
		}
	}
	return false
}
