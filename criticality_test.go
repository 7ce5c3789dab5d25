package stability_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

func TestCriticality(t *testing.T) {
	for c, text := range map[stability.Criticality]string{
		stability.CriticalPlus: "critical-plus", stability.Critical: "critical",
		stability.SheddablePlus: "sheddable-plus", stability.Sheddable: "sheddable",
	} {
		require.Equal(t, text, c.String())
		out, err := json.Marshal(c)
		require.NoError(t, err)
		require.JSONEq(t, `"`+text+`"`, string(out))
		var in stability.Criticality
		require.NoError(t, json.Unmarshal(out, &in))
		require.Equal(t, c, in)
		require.Equal(t, c, stability.CriticalityOf(stability.WithCriticality(t.Context(), c)))
	}
	require.Greater(t, stability.CriticalPlus, stability.Critical)
	require.Greater(t, stability.Critical, stability.SheddablePlus)
	require.Greater(t, stability.SheddablePlus, stability.Sheddable)
	for _, none := range []stability.Criticality{-3, 2, 127, -128} {
		_, err := none.MarshalText()
		require.Error(t, err)
		require.NotEmpty(t, none.String())
	}
	require.Equal(t, stability.CriticalPlus, stability.CriticalityOf(stability.WithCriticality(t.Context(), 127)))
	require.Equal(t, stability.Sheddable, stability.CriticalityOf(stability.WithCriticality(t.Context(), -128)))
	for _, text := range []string{"", "Critical", "critical+", strings.Repeat("x", 1<<20)} {
		c := stability.Sheddable
		err := c.UnmarshalText([]byte(text))
		require.ErrorContains(t, err, "sheddable-plus")
		require.Less(t, len(err.Error()), 500)
		require.Equal(t, stability.Sheddable, c)
	}
}

// A call without a label is neither the first nor the last to be refused.
func TestContextWithoutLabels(t *testing.T) {
	ctx := context.Background()
	require.Equal(t, stability.Critical, stability.CriticalityOf(ctx))
	require.Empty(t, stability.CallerOf(ctx))
	inner := stability.WithCaller(stability.WithCaller(stability.WithCriticality(ctx, stability.Sheddable), "a"), "b")
	require.Equal(t, "b", stability.CallerOf(inner))
	require.Equal(t, stability.Sheddable, stability.CriticalityOf(inner))
	require.Empty(t, stability.CallerOf(stability.WithCaller(inner, "")))
}
