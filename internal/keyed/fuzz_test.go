package keyed

import (
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzModel drives a Map and its model with one operation a byte.
func FuzzModel(f *testing.F) {
	f.Add(uint8(1), []byte("abc"))
	f.Add(uint8(3), []byte{0, 1, 2, 3, 0x80, 4, 5, 0xC8, 6, 7, 8, 0, 0})
	f.Add(uint8(12), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xFF, 14, 0xFF, 15, 16, 17})
	f.Fuzz(func(t *testing.T, maxMembers uint8, ops []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := newMachine(t, 1+int(maxMembers%16))
			// The machine looks at all that was made after each operation: a long script takes its length squared.
			for _, op := range ops[:min(len(ops), 300)] {
				switch n := int(op & 0x3F); {
				case op < 0x80:
					s.get(n)
				case op < 0xA0:
					s.pin(n)
				case op < 0xC0:
					s.use(n)
				default:
					s.wait(n)
				}
			}
		})
	})
}

// What stands for a key is short, and is the key's alone: what others make longer, or the
// same at its beginning, gets another.
//
// Contract: 42
func FuzzShorten(f *testing.F) {
	f.Add("eu-1", uint16(0))
	f.Add("größe", uint16(300))
	f.Add(strings.Repeat("a", 257), uint16(1))
	f.Add("\xff\xc3", uint16(130))
	f.Fuzz(func(t *testing.T, part string, times uint16) {
		part = part[:min(len(part), 4*maxKey)]
		key := strings.Repeat(part, min(int(times), 4*maxKey/(len(part)+1))+1)
		short := Shorten(key)
		require.LessOrEqual(t, len(short), maxKey)
		require.Equal(t, short, Shorten(short))
		if len(key) <= maxKey {
			require.Equal(t, key, short)
		} else {
			mark := strings.LastIndex(short, "…sha256:")
			require.Positive(t, mark)
			require.True(t, strings.HasPrefix(key, short[:mark]))
		}
		if utf8.ValidString(key) {
			require.True(t, utf8.ValidString(short), "no half of a character: %q", short)
		}
		for _, other := range []string{key + "x", key + key, strings.Repeat("y", maxKey) + key} {
			if other != key {
				require.NotEqual(t, short, Shorten(other))
			}
		}
	})
}
