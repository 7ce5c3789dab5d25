package stability_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
)

// A turnstile is a gate that notes how it was left.
type turnstile struct {
	n       int
	left    *[]string
	refuses bool
	panics  bool
}

func (g *turnstile) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if g.refuses {
		return ctx, stability.Admission{}, fmt.Errorf("refused by %d", g.n)
	}
	return context.WithValue(ctx, g, g.n), stability.Admission{Gate: g, N: int64(g.n)}, nil
}

func (g *turnstile) Release(ctx context.Context, n int64, err error) error {
	if ctx.Value(g) != g.n || int(n) != g.n {
		return errors.New("another call's context")
	}
	*g.left = append(*g.left, fmt.Sprintf("%d: %v", g.n, err))
	if g.panics {
		panic("left")
	}
	return err
}

// Whatever is entered is left once, innermost first, also where a gate refuses or panics, and
// however many gates there are.
//
// Contract: 1, 44
func TestAdmissions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var a stability.Admissions
		var left []string
		ctx := context.Background()
		count := rapid.IntRange(0, 40).Draw(rt, "gates")
		entered := 0
		for n := range count {
			g := &turnstile{
				n: n, left: &left,
				refuses: rapid.IntRange(0, 30).Draw(rt, "refuses") == 30,
				panics:  rapid.IntRange(0, 15).Draw(rt, "panics") == 15,
			}
			var err error
			if ctx, err = a.Admit(ctx, g); err != nil {
				require.EqualError(rt, err, fmt.Sprintf("refused by %d", n))
				break
			}
			entered++
		}
		require.Equal(rt, entered, a.Len())
		want := entered
		for want > 0 {
			keep := rapid.IntRange(0, want).Draw(rt, "keep")
			func() {
				defer func() { _ = recover() }()
				require.Equal(rt, errCall, a.Leave(keep, errCall))
			}()
			require.Equal(rt, keep, a.Len())
			require.Len(rt, left, entered-keep)
			want = keep
		}
		for i, line := range left {
			require.Equal(rt, fmt.Sprintf("%d: %v", entered-1-i, errCall), line)
		}
		require.NoError(rt, a.Leave(0, nil), "there is nothing left to leave")
		require.Len(rt, left, entered)
	})
}

// An adapter holds the permit of a stream after its breaker has judged it by the first message.
func TestAdmissionsOfAStream(t *testing.T) {
	permits := bulkhead.New(bulkhead.Config{Limit: 1})
	b := breaker.New(breaker.Config{Consecutive: 1})
	var a stability.Admissions
	ctx, err := a.Enter(t.Context(), permits)
	require.NoError(t, err)
	_, err = a.Enter(ctx, b)
	require.NoError(t, err)
	a.Answered()
	require.EqualValues(t, 1, b.Stats().Window.Successes)
	require.ErrorIs(t, a.Leave(1, errCall), errCall)
	require.Equal(t, breaker.Open, b.State())
	require.Equal(t, 1, permits.Stats().InUse)
	_, err = a.Enter(ctx, b)
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.Equal(t, 1, a.Len())
	require.NoError(t, a.Leave(0, nil))
	require.Zero(t, permits.Stats().InUse)

	// A gate of a user's own, which knows Enter alone.
	own := struct{ stability.Gate }{permits}
	_, err = a.Enter(t.Context(), own)
	require.NoError(t, err)
	require.Equal(t, 1, permits.Stats().InUse)
	require.NoError(t, a.Leave(0, nil))
	require.Zero(t, permits.Stats().InUse)
}
