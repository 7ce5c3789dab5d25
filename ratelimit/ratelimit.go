// Package ratelimit limits how often calls are made, so that a dependency gets no
// more work than it was agreed to take, and a burst of work is spread over time.
//
// A limiter is a bucket of tokens, which is full at first. Each call takes a token,
// and they come back at a steady rate. Over any span of t seconds no more than
// Rate·t + Burst calls are let in, and after an idle time of Burst/Rate seconds
// exactly Burst are, at once. Calls that find no token are refused, or wait for
// one, first come, first served.
//
// The patterns: Nygard, Release It! (2nd ed., 2018), sections 5.10, Shed Load, and
// 5.12, Governor. They counter users, who come in
// any number, and unbalanced capacities. The bucket: J. S. Turner, New
// Directions in Communications, IEEE Communications Magazine, October 1986.
package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrLimited is the Reason of every refusal: no token was to be had, or none in the
// time that the call had. errors.Is finds [stability.ErrRejected] in it.
var ErrLimited = stability.NewReason("ratelimit: limited")

// errForced is the Reason of a limiter in ModeOpen.
var errForced = fmt.Errorf("%w: every call is refused (mode open)", ErrLimited)

const policy = "ratelimit"

// A Limiter is a [stability.Gate] that lets calls in at a limited rate. A token
// that a call took is spent, however the call ends; a call that was refused, or
// gave up waiting, has taken none.
//
// A nil *Limiter lets every call in. All methods may be called by any number of
// goroutines.
type Limiter struct {
	// What every grant touches comes first, down to the bucket's rate.Limiter, and shares
	// a pair of cache lines with what the map of a Group touches of a member: with a
	// limiter for each of many keys, fetching them is most of what a call costs. A member
	// is two pairs, and what it seldom needs is apart. See TestMemberLayout.

	// lease is what is left of the tokens lent out of the bucket, to be had without
	// mu; or onStripes, which says where they are. refused is the latest refusal, good for
	// more calls without mu; nil where there is none.
	lease   atomic.Int64
	refused atomic.Pointer[refusal]

	*settings
	mu     sync.Mutex
	queue  *queue // nil: nobody has waited yet
	lender lender
	bucket bucket

	alarm *alarm // nil: never set
	key   string
	tally telemetry.Tally
}

// New returns a limiter with a full bucket. It panics with the error of
// [Config.Validate] when cfg is not usable.
func New(cfg Config) *Limiter {
	l := new(Limiter)
	l.init(newSettings(cfg), "")
	telemetry.Observe(l.meter, l, func(l *Limiter, o metric.Observer) { l.observe(o, l.Stats()) })
	telemetry.Register(l.meter, l, source)
	return l
}

func (l *Limiter) init(s *settings, key string) {
	l.settings, l.key = s, key
	l.tally.Sum = s.sum
	cfg := s.live.Config()
	l.bucket.init(l.now(), cfg.Rate, cfg.burst())
	l.lender.configure(&l.bucket)
}

// Run calls fn when it gets a token, after a wait of at most Config.MaxWait.
// Otherwise it returns a [stability.Rejection] with the Reason [ErrLimited], at once
// where no token can come in time: before the end of MaxWait and of ctx's deadline,
// after all who wait already. RetryAfter is when one can; it is never too short, and
// may be a sixteenth too long (or 0.1 ms). Where ctx ended while the call waited,
// errors.Is finds ctx's error and its cause in the Rejection too.
//
// Run blocks only to wait for a token, and does not allocate unless it waits, but
// for a Rejection now and then, which many refusals share.
func (l *Limiter) Run(ctx context.Context, fn func(context.Context) error) error {
	ctx, a, err := l.Admit(ctx)
	if err != nil {
		return err
	}
	return a.Run(ctx, fn)
}

// Enter is [Limiter.Run] for a call that outlives a function.
func (l *Limiter) Enter(ctx context.Context) (*stability.Pass, error) {
	ctx, a, err := l.Admit(ctx)
	if err != nil {
		return nil, err
	}
	return a.Pass(ctx), nil
}

// Admit implements [stability.Admitter].
func (l *Limiter) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if l == nil {
		return ctx, stability.Admission{}, nil
	}
	if err := ctx.Err(); err != nil {
		return ctx, stability.Admission{}, ended.With(ctx, err)
	}
	if !l.spend() {
		if err := l.acquire(ctx, 1, l.live.Config().MaxWait); err != nil {
			return ctx, stability.Admission{}, err
		}
	}
	return ctx, stability.Admission{Gate: (*releaser)(l)}, nil
}

// releaser is the side of a Limiter that admissions come back to.
type releaser Limiter

// Release implements [stability.Releaser].
func (r *releaser) Release(ctx context.Context, _ int64, err error) error {
	r.tally.Judge(ctx, r.live.Config().Classify, err)
	return err
}

// Allow takes a token and reports whether there was one. It does not wait, and is
// refused while others do. Of what Allow, AllowN, Wait and WaitN are asked, only
// refusals are counted in [Stats]: how a call that they let in ends is not known.
func (l *Limiter) Allow() bool { return l == nil || l.spend() || l.try(1) }

// AllowN is [Limiter.Allow] for n tokens, all or none. It is true for an n of zero
// or less, which asks for nothing, and false for one above Burst.
func (l *Limiter) AllowN(n int) bool {
	return l == nil || n <= 0 || l.try(n)
}

// Wait takes a token, and waits for it for as long as ctx lets it, whatever
// Config.MaxWait is. It returns what [Limiter.Run] returns where it lets no call in.
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN is [Limiter.Wait] for n tokens, all or none. An n of zero or less asks for
// nothing. One above Burst is refused at once, with a Reason that says so and
// without RetryAfter: no wait would help.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return ended.With(ctx, err)
	}
	if n <= 0 || n == 1 && l.spend() {
		return nil
	}
	return l.acquire(ctx, n, forever)
}

// Do is [Limiter.Run] for a function that returns a value. Where the call was
// refused the value is the zero T.
func Do[T any](ctx context.Context, l *Limiter, fn func(context.Context) (T, error)) (T, error) {
	ctx, a, err := l.Admit(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return stability.DoAdmitted(ctx, a, fn)
}
