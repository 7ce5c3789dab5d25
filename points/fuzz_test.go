package points_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/points"
)

// Whatever a text is, the register's table has one row of twelve cells for it, in which
// CommonMark and GitHub's tables find text and nothing else, and from which the text can be
// told again.
func FuzzMarkdown(f *testing.F) {
	for _, text := range []string{"plain", "a|b\\|c\\", "`a`", "a\r\nb", "\x1b[0m\u202e\xff", "_a_b_", "www.a http://b c@d.e", "[a](b) ![c]", "<a>&b;~c~*d*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := []points.Point{{
			Name: text, Policy: text, Guards: text, Owner: text, Note: text, State: text,
			Settings: []points.Setting{{Name: text, Value: text}}, Problem: text,
		}}
		table := points.Markdown(list)
		require.True(t, utf8.ValidString(table))
		lines := strings.FieldsFunc(table, func(r rune) bool { return r == '\n' || r == '\r' })
		require.Len(t, lines, 3)
		cells := cellsOf(t, lines[2])
		require.Len(t, cells, strings.Count(lines[0], "|")-1)

		want := visible(text)
		for _, i := range []int{0, 1, 2, 3, 10} {
			require.Equal(t, strings.TrimSpace(want), cells[i])
		}

		var back []points.Point
		require.NoError(t, json.Unmarshal(asJSON(t, list), &back))
		if utf8.ValidString(text) {
			require.Equal(t, text, back[0].Name)
		}
	})
}

// visible is the text that a reader of the table sees.
func visible(text string) string {
	var b strings.Builder
	for n := 0; len(text) > 0; n++ {
		if n == 1024 {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(text)
		switch one := text[:size]; {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsPrint(r) && utf8.ValidString(one):
			b.WriteString(one)
		default:
			b.WriteString(strings.Trim(strconv.Quote(one), `"`))
		}
		text = text[size:]
	}
	return b.String()
}

// cellsOf reads a row as GitHub's tables do: a pipe ends a cell unless a backslash is before
// it. What is left in the cells must be text to CommonMark.
func cellsOf(t *testing.T, row string) []string {
	t.Helper()
	var cells []string
	var cell strings.Builder
	chars := []rune(row)
	at := func(i int) rune {
		if i < 0 || i >= len(chars) {
			return ' '
		}
		return chars[i]
	}
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for i := 0; i < len(chars); i++ {
		c := chars[i]
		switch {
		case c == '\\' && unicode.Is(asciiPunctuation, at(i+1)):
			i++
			cell.WriteRune(chars[i])
		case c == '|':
			cells = append(cells, strings.TrimSpace(cell.String()))
			cell.Reset()
		default:
			require.NotContains(t, "\\`*~[]<>&", string(c), "markup in %q", row)
			if c == '_' {
				require.True(t, word(at(i-1)) && word(at(i+1)), "emphasis in %q", row)
			}
			require.False(t, c == ':' && at(i+1) == '/' && at(i+2) == '/', "a link in %q", row)
			require.False(t, c == '.' && at(i-1)|' ' == 'w', "a link in %q", row)
			require.True(t, unicode.IsPrint(c), "%q in %q", c, row)
			cell.WriteRune(c)
		}
	}
	require.Empty(t, cell.String())
	return cells[1:] // before the first pipe there is nothing
}

// asciiPunctuation is what a backslash takes the meaning from.
var asciiPunctuation = &unicode.RangeTable{R16: []unicode.Range16{{'!', '/', 1}, {':', '@', 1}, {'[', '`', 1}, {'{', '~', 1}}, LatinOffset: 4}
