package points

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Policies come and go for as long as a process runs: nothing stays of those that
// are gone.
func TestRegisterForgets(t *testing.T) {
	registered := func() int {
		register.mu.Lock()
		defer register.mu.Unlock()
		return len(register.entries)
	}
	before := registered()
	const many = 1000
	owners := make([]*[64]byte, many)
	for i := range owners {
		owners[i] = new([64]byte)
		Register(owners[i], Source[[64]byte]{Read: func(*[64]byte) Point { return Point{} }})
	}
	require.GreaterOrEqual(t, registered(), many)
	runtime.KeepAlive(owners)
	clear(owners)
	for tries := 0; registered() > before && tries < 10_000; tries++ {
		runtime.GC() // cleanups run on goroutines of their own
	}
	require.LessOrEqual(t, registered(), before)
}
