package bulkhead_test

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// FuzzModel lets the fuzzer choose what [TestModel] draws at random.
func FuzzModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x02\x03\x04\x05\x06\x07\x08 a bulkhead, some callers, and a script of what they do"))
	check := rapid.MakeFuzz(checkModel)
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) { check(t, script) })
	})
}
