// Package stability is the vocabulary that the stability patterns of this
// module share: what a policy is, what a refusal looks like, how the end of a
// call is judged, and how policies are put one inside another.
//
// The patterns themselves live in packages of their own. breaker, bulkhead,
// timeout and ratelimit are gates, which decide once before a call and learn
// how it ended; retry, hedge, fallback and flight make a call again, twice, do
// without it, or make it for many; stabilityhttp puts them around HTTP clients and
// servers. Patterns do not import one another, but for hedge, which spends from a
// retry.Budget; they understand one another through this package. A breaker does not count a bulkhead's refusal as the
// dependency's failure, and a half-open probe that an inner gate refuses gives
// its slot back, because both see a [Rejection].
//
// Most of the patterns are those of Michael T. Nygard, Release It! (2nd edition,
// 2018), part I; each package names its source.
package stability

import "context"

// A Policy guards a call.
//
// Run calls fn zero or more times, one after another, on the caller's
// goroutine, and never after it has returned. It returns fn's error, or an
// error in which errors.Is finds fn's error, or a [Rejection] when fn was not
// called. A panic or runtime.Goexit of fn passes through unchanged. When ctx
// has ended before the call, Run returns ctx.Err() and does not call fn. A nil
// policy of this module, and a chain of none, look at nothing and call fn.
//
// A Policy may be used by any number of goroutines at the same time.
type Policy interface {
	Run(ctx context.Context, fn func(context.Context) error) error
}

// A Gate is a [Policy] that decides once, before the call, and learns how it
// ended. Its Run calls fn at most once.
//
// Enter is for calls that outlive a function: a response body, a stream, a set
// of rows. It returns a [Pass], whose Done must be called when the call has
// ended, or an error: a [Rejection], or ctx.Err() when ctx has ended before.
type Gate interface {
	Policy
	Enter(ctx context.Context) (*Pass, error)
}

// Do is p.Run for a function that returns a value. It returns what fn returned
// last, with the error of p; where fn was not called, the zero T and p's error. A nil p
// calls fn unguarded.
//
// Do adds no allocation to those of p where p is a gate of this module or a chain of
// such gates.
func Do[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error)) (T, error) {
	var v T
	err := doInto(ctx, p, fn, &v)
	return v, err
}

// doInto is Do that leaves in v what fn returned last; where fn is not called, what is
// there.
func doInto[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error), v *T) (err error) {
	switch p := p.(type) {
	case nil:
		*v, err = fn(ctx)
		return err
	case *chain:
		return doChain(ctx, p, fn, v)
	case Admitter:
		ctx, a, err := p.Admit(ctx)
		if err != nil {
			return err
		}
		*v, err = DoAdmitted(ctx, a, fn)
		return err
	case *stack:
		if p.around != nil {
			return doAround(ctx, p.around, p.inner, fn, v)
		}
	case arounder:
		return doAround(ctx, p, nil, fn, v)
	}
	return doPolicy(ctx, p, fn, v)
}

func doAround[T any](ctx context.Context, p arounder, inner Policy, fn func(context.Context) (T, error), v *T) error {
	d := &doing[T]{inner: inner, fn: fn, v: *v}
	err := p.Around(ctx, d, nil)
	*v = d.v
	return err
}

// A doing is the policy inner, or none, around a function that returns a value, which
// Run calls in place of the one that it is given. It is one allocation, where a variable
// and the closures around it were three.
type doing[T any] struct {
	inner Policy
	fn    func(context.Context) (T, error)
	v     T
}

func (d *doing[T]) Run(ctx context.Context, _ func(context.Context) error) error {
	return doInto(ctx, d.inner, d.fn, &d.v)
}

func doPolicy[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error), v *T) error {
	last := *v // and not v, which would be allocated everywhere were it in a closure
	err := p.Run(ctx, func(ctx context.Context) (err error) {
		last, err = fn(ctx)
		return err
	})
	*v = last
	return err
}
