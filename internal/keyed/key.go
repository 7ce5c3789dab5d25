package keyed

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

const (
	// maxKey is the longest key in bytes that is kept as it is.
	maxKey = 256
	// shown is how much of a longer one is kept.
	shown = 64
)

// Shorten returns a key that stands for key in a map, of at most 256 bytes: a longer one
// is its beginning and its SHA-256. What others choose the keys of holds no more memory by
// longer ones.
func Shorten(key string) string {
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	begin := key[:shown]
	for len(begin) > shown-utf8.UTFMax { // no half of a character
		if r, size := utf8.DecodeLastRuneInString(begin); r != utf8.RuneError || size > 1 {
			break
		}
		begin = begin[:len(begin)-1]
	}
	return strings.Join([]string{begin, "…sha256:", hex.EncodeToString(sum[:])}, "")
}
