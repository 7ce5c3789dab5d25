package stability_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

func TestDo(t *testing.T) {
	answer := func(context.Context) (int, error) { return 3, errCall }
	for name, p := range map[string]stability.Policy{
		"nil":             nil,
		"a gate":          &gate{name: "g"},
		"a foreign gate":  foreign{&gate{name: "g"}},
		"a policy":        plain{&gate{name: "g"}},
		"an arounder":     around{plain{&gate{name: "g"}}},
		"a chain of none": stability.Chain(),
		"a chain":         stability.Chain(&gate{name: "a"}, &gate{name: "b"}),
		"a stack":         stability.Chain(&gate{name: "a"}, plain{&gate{name: "b"}}, &gate{name: "c"}),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := stability.Do(t.Context(), p, answer)
			require.Equal(t, 3, v, "the value comes beside the error")
			require.Equal(t, errCall, err)
		})
	}
}

func TestDoRefused(t *testing.T) {
	refusal := &stability.Rejection{Policy: "g"}
	refuser := func() *gate { return &gate{name: "g", admit: func() error { return refusal }} }
	for name, p := range map[string]stability.Policy{
		"a gate":         refuser(),
		"a foreign gate": foreign{refuser()},
		"a policy":       plain{refuser()},
		"an arounder":    around{plain{refuser()}},
		"a chain":        stability.Chain(&gate{name: "a"}, refuser()),
		"a stack":        stability.Chain(plain{&gate{name: "a"}}, refuser()),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := stability.Do(t.Context(), p, func(context.Context) (string, error) { t.Error("ran"); return "v", nil })
			require.Empty(t, v)
			require.Equal(t, refusal, err)
		})
	}
}

// Where the policy runs the call again, the value is that of the last time that it
// ran, which is not the last time that it would have.
func TestDoRepeated(t *testing.T) {
	refusal := &stability.Rejection{}
	once := func() *gate { // lets one in
		n := 0
		return &gate{name: "once", admit: func() error {
			if n++; n > 1 {
				return refusal
			}
			return nil
		}}
	}
	for name, outer := range map[string]stability.Policy{"a policy": struct{ stability.Policy }{twice{}}, "an arounder": twice{}} {
		t.Run(name, func(t *testing.T) {
			n := 0
			value := func(context.Context) (int, error) { n++; return n, errCall }
			v, err := stability.Do(t.Context(), outer, value)
			require.Equal(t, errCall, err)
			require.Equal(t, 2, v)
			v, err = stability.Do(t.Context(), stability.Chain(outer, &gate{name: "g"}), value)
			require.Equal(t, errCall, err)
			require.Equal(t, 4, v)
			for i, inner := range []stability.Policy{once(), foreign{once()}, plain{once()}, stability.Chain(&gate{name: "g"}, once())} {
				v, err = stability.Do(t.Context(), stability.Chain(outer, inner), value)
				require.Equal(t, refusal, err)
				require.Equal(t, 5+i, v)
			}
		})
	}
}
