package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/timeout"
)

// The context of a call behaves as the one of [context.WithTimeoutCause] does: the
// same script of operations on both, under the same parent, sees the same.
//
// Contract: 19, 20
func TestContextBehavesAsTheStandardOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { compare(t, rt) })
}

func FuzzContext(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { compare(t, rt) })(t, script)
	})
}

// compare draws a script and runs it in a bubble. It fails outside, so that rapid
// can shrink the script.
func compare(t *testing.T, rt *rapid.T) {
	parent := rapid.SampledFrom([]string{"canceled by hand", "with a later deadline", "foreign"}).Draw(rt, "parent")
	script := rapid.SliceOfN(rapid.IntRange(0, len(operations)-1), 1, 20).Draw(rt, "script")
	var difference string
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, parent)
		defer p.close()
		for i, op := range script {
			operations[op].do(p)
			synctest.Wait()
			if d := p.difference(); d != "" {
				difference = fmt.Sprintf("after step %d (%s): %s", i, operations[op].name, d)
				return
			}
		}
	})
	if difference != "" {
		rt.Fatal(difference)
	}
}

type parentKey struct{}

var errParent = errors.New("the parent's cause")

// A pair is the two contexts and all that was made of them.
type pair struct {
	parent         context.Context
	cancelParent   context.CancelCauseFunc
	standard, ours context.Context
	cancelStandard context.CancelFunc
	pass           *stability.Pass

	// reference is what ours has to look like: the standard context, as long as
	// somebody looked at ours when it ended. Nobody did, and it is taken to have
	// ended with its parent or at the release, whatever else had come first.
	reference context.Context
	armed     bool // ours was asked for more than an Err that was nil

	watched []func() [2]string // what is seen of things derived from both
	stops   []func()
}

func newPair(t *testing.T, parent string) *pair {
	p := &pair{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), parentKey{}, "v"))
	p.parent, p.cancelParent = ctx, cancel
	switch parent {
	case "with a later deadline":
		ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errParent)
		p.parent = ctx
		p.stops = append(p.stops, cancel)
	case "foreign":
		p.parent = foreignCtx{ctx}
	}
	p.standard, p.cancelStandard = context.WithTimeoutCause(p.parent, 10*time.Second, timeout.ErrExceeded)
	var err error
	p.pass, err = timeout.New(timeout.Config{After: 10 * time.Second}).Enter(p.parent)
	require.NoError(t, err)
	p.ours, p.reference = p.pass.Context(), p.standard
	return p
}

// foreignCtx hides the *cancelCtx of the context inside.
type foreignCtx struct{ context.Context }

func (c foreignCtx) Value(key any) any {
	if _, ok := key.(parentKey); ok {
		return c.Context.Value(key)
	}
	return nil
}

func (p *pair) release() {
	p.cancelStandard()
	_ = p.pass.Done(nil)
	if !p.armed {
		p.arm(canceled)
	}
}

// arm settles what ours is compared with.
func (p *pair) arm(reference context.Context) { p.reference, p.armed = reference, true }

// look is before each look at the two.
func (p *pair) look() {
	if p.armed {
		return
	}
	if p.parent.Err() != nil {
		p.arm(p.parent)
	} else if p.standard.Err() != nil {
		p.arm(p.standard)
	}
}

func (p *pair) close() {
	p.release()
	p.cancelParent(nil)
	for _, stop := range p.stops {
		stop()
	}
}

func (p *pair) difference() string {
	for i, w := range p.watched {
		if seen := w(); seen[0] != seen[1] {
			return fmt.Sprintf("look %d: want %s, got %s", i, seen[0], seen[1])
		}
	}
	return ""
}

// see notes what f sees of both.
func (p *pair) see(f func(ctx context.Context) string) {
	p.look()
	want, got := f(p.reference), f(p.ours)
	p.watched = append(p.watched, func() [2]string { return [2]string{want, got} })
}

// derive makes the same of both and watches it from then on.
func (p *pair) derive(f func(ctx context.Context) (seen func() string, stop func())) {
	p.look()
	p.armed = true
	want, stopWant := f(p.reference)
	got, stopGot := f(p.ours)
	p.watched = append(p.watched, func() [2]string { return [2]string{want(), got()} })
	p.stops = append(p.stops, stopWant, stopGot)
}

var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func ended(ctx context.Context) string {
	select {
	case <-ctx.Done():
		return fmt.Sprintf("ended: %v, cause %v", ctx.Err(), cause(ctx))
	default:
		return fmt.Sprintf("alive: %v, cause %v", ctx.Err(), cause(ctx))
	}
}

// cause is a context's cause, where ours says more than the standard one does.
func cause(ctx context.Context) error {
	c := context.Cause(ctx)
	if errors.Is(c, timeout.ErrExceeded) {
		return timeout.ErrExceeded
	}
	return c
}

var operations = []struct {
	name string
	do   func(*pair)
}{
	{"a second passes", func(*pair) { time.Sleep(time.Second) }},
	{"six seconds pass", func(*pair) { time.Sleep(6 * time.Second) }},
	{"a minute passes", func(*pair) { time.Sleep(time.Minute) }},
	{"parent canceled", func(p *pair) { p.cancelParent(errParent) }},
	{"released", (*pair).release},
	{"Err", func(p *pair) { p.see(func(ctx context.Context) string { return fmt.Sprint(ctx.Err()) }) }},
	{"Cause", func(p *pair) { p.see(func(ctx context.Context) string { return fmt.Sprint(cause(ctx)) }) }},
	{"Done", func(p *pair) {
		p.derive(func(ctx context.Context) (func() string, func()) {
			done := ctx.Done()
			return func() string {
				select {
				case <-done:
					return ended(ctx)
				default:
					return "alive"
				}
			}, func() {}
		})
	}},
	{"Deadline and Value", func(p *pair) {
		see := func(ctx context.Context) string {
			deadline, ok := ctx.Deadline()
			return fmt.Sprint(deadline, ok, ctx.Value(parentKey{}), ctx.Value("nothing"), ctx.Value(new(int)))
		}
		p.watched = append(p.watched, func() [2]string { return [2]string{see(p.standard), see(p.ours)} })
	}},
	{"child", func(p *pair) {
		p.derive(func(ctx context.Context) (func() string, func()) {
			child, cancel := context.WithCancel(ctx)
			return func() string { return ended(child) }, cancel
		})
	}},
	{"child with a time of its own", func(p *pair) {
		p.derive(func(ctx context.Context) (func() string, func()) {
			// It never ends in the same instant as its parents: which timer is first then, is chance.
			child, cancel := context.WithTimeoutCause(ctx, 5500*time.Millisecond, errors.New("the child's cause"))
			return func() string { return ended(child) }, cancel
		})
	}},
	{"AfterFunc", func(p *pair) {
		p.derive(func(ctx context.Context) (func() string, func()) {
			ran := make(chan struct{})
			stop := context.AfterFunc(ctx, func() { close(ran) })
			return func() string {
				select {
				case <-ran:
					return "ran"
				default:
					return "did not run"
				}
			}, func() { stop() }
		})
	}},
	{"WithoutCancel", func(p *pair) {
		see := func(ctx context.Context) string {
			return ended(context.WithoutCancel(context.WithValue(ctx, parentKey{}, "w")))
		}
		p.watched = append(p.watched, func() [2]string { return [2]string{see(p.standard), see(p.ours)} })
	}},
}
