package stability_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
)

// What a Rejection says is one printable line of bounded length, whatever it was called.
func FuzzRejection(f *testing.F) {
	f.Add("payments", "eu-1")
	f.Add("a\nb", "\x1b[0m\u202e\xff")
	f.Fuzz(func(t *testing.T, name, key string) {
		r := stability.Rejection{Policy: name, Name: name, Key: key}
		text := r.Error()
		require.True(t, utf8.ValidString(text))
		require.Less(t, len(text), 3*256*len(`\U0010ffff`)+100)
		for _, r := range text {
			require.True(t, unicode.IsPrint(r), "%q", text)
		}
	})
}

// A text is an outcome only if it is the text of one, and the error about another is short.
func FuzzOutcome(f *testing.F) {
	for _, text := range []string{"success", "failure", "ignored", "Success", "success\x00", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o := stability.Outcome(255)
		if err := o.UnmarshalText(text); err != nil {
			require.Equal(t, stability.Outcome(255), o, "it is left alone")
			require.Less(t, len(err.Error()), 64*len(`\U0010ffff`)+50)
			return
		}
		again, err := o.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}
