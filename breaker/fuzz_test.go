package breaker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// A text is a state or a mode only if it is the text of one, and the error about another is
// short.
func FuzzText(f *testing.F) {
	for _, text := range []string{"closed", "half_open", "open", "on", "observe", "off", "Open", "open\n", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const none = 127
		state, mode := breaker.State(none), stability.Mode(none)
		errState, errMode := state.UnmarshalText(text), mode.UnmarshalText(text)
		require.Equal(t, errState != nil, state == none, "it is left alone")
		require.Equal(t, errMode != nil, mode == none, "it is left alone")
		for _, err := range []error{errState, errMode} {
			if err != nil {
				require.Less(t, len(err.Error()), 256*len(`\U0010ffff`)+100)
			}
		}
		if errState == nil {
			require.Equal(t, string(text), state.String())
		}
		if errMode == nil {
			require.Equal(t, string(text), mode.String())
		}
	})
}
