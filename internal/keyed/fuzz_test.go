package keyed

import (
	"testing"
	"testing/synctest"
)

// FuzzModel drives a Map and its model with one operation a byte.
func FuzzModel(f *testing.F) {
	f.Add(uint8(1), []byte("abc"))
	f.Add(uint8(3), []byte{0, 1, 2, 3, 0x80, 4, 5, 0xC8, 6, 7, 8, 0, 0})
	f.Add(uint8(12), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xFF, 14, 0xFF, 15, 16, 17})
	f.Fuzz(func(t *testing.T, maxMembers uint8, ops []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := newMachine(t, 1+int(maxMembers%16))
			for _, op := range ops {
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
