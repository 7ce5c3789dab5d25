package stability_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

func TestMode(t *testing.T) {
	var zero stability.Mode
	require.Equal(t, stability.ModeOn, zero)
	for mode, text := range map[stability.Mode]string{
		stability.ModeOn: "on", stability.ModeObserve: "observe", stability.ModeOff: "off", stability.ModeOpen: "open",
	} {
		require.Equal(t, text, mode.String())
		out, err := json.Marshal(mode)
		require.NoError(t, err)
		require.JSONEq(t, `"`+text+`"`, string(out))
		var in stability.Mode
		require.NoError(t, json.Unmarshal(out, &in))
		require.Equal(t, mode, in)
	}
	for _, none := range []stability.Mode{-1, 4, 127, -128} {
		_, err := none.MarshalText()
		require.Error(t, err)
		require.NotEmpty(t, none.String())
	}
	for _, text := range []string{"", "On", "closed", "on ", strings.Repeat("x", 1<<20)} {
		mode := stability.ModeOff
		err := mode.UnmarshalText([]byte(text))
		require.ErrorContains(t, err, "on, observe, off or open")
		require.Less(t, len(err.Error()), 400)
		require.Equal(t, stability.ModeOff, mode)
	}
}
