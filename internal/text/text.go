// Package text shows what others wrote as what it is: one line of an error or a log, one cell of a
// table.
package text

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxShown is how many characters of a text that others chose are shown: a key that a
// Group keeps is never longer.
const MaxShown = 256

// Quoted returns text for a message of one line. What is printable stays as it is.
// Everything else is quoted as in Go: a line end cannot begin a line of a log, an escape
// sequence does not reach a terminal, a mark that turns the direction of writing round is
// seen.
func Quoted(text string) string {
	short := Shortened(text, MaxShown)
	for _, r := range short {
		// Invalid UTF-8 reads as U+FFFD, which is printable.
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(short)
		}
	}
	return short
}

// Shortened returns the first characters of text, at most that many, with "…" in the place
// of those left out.
func Shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for i := range text {
		if most == 0 {
			return text[:i] + "…"
		}
		most--
	}
	return text
}

// MaxCell is how many characters a cell of a table has at most.
const MaxCell = 1024

// Cell returns text for a cell of a Markdown table, which shows it as what it is: it
// neither ends the cell nor the row, and is no link, image, code, emphasis or HTML. White
// space of any kind is a space. What is neither that nor printable, and what is no UTF-8,
// is shown as in a string of Go.
func Cell(text string) string {
	text = Shortened(text, MaxCell)
	var b strings.Builder
	before := ' ' // the last character of text that was written
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		c := text[i : i+size]
		i += size
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1, !strconv.IsPrint(r):
			q := strconv.Quote(c)
			b.WriteString(`\` + q[1:len(q)-1])
		case isMarkup(before, r, text[i:]):
			b.WriteString(`\` + c)
		default:
			b.WriteString(c)
		}
		before = r
	}
	return b.String()
}

// isMarkup reports whether r, between before and after, may mean something to CommonMark
// or to GitHub's additions to it.
func isMarkup(before, r rune, after string) bool {
	switch r {
	case '\\', '|', '`', '*', '~', '[', ']', '<', '>', '&':
		return true
	case '_': // emphasis at the edges of a word; a name of several_words stays legible
		next, _ := utf8.DecodeRuneInString(after)
		return !isWord(before) || !isWord(next)
	case ':': // a scheme, before what becomes a link without being marked as one
		return strings.HasPrefix(after, "//")
	case '.': // www.
		return before == 'w' || before == 'W'
	}
	return false
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
