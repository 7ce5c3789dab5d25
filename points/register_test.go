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

// What was set for a policy that is gone ends with it: no timer goes on.
func TestNothingEndsForAPolicyThatIsGone(t *testing.T) {
	owner := new([64]byte)
	Register(owner, Source[[64]byte]{
		Read: func(*[64]byte) Point {
			return Point{Policy: "knob", Name: t.Name(), Settings: []Setting{{Name: "value", Value: "1"}}}
		},
		Set: func(*[64]byte, map[string]string) error { return nil },
	})
	e := register.named("knob", t.Name())[0]
	require.NoError(t, Set("knob", t.Name(), map[string]string{"value": "2"}, Change{Source: Operator}))
	ends := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.timer != nil
	}
	require.True(t, ends())
	runtime.KeepAlive(owner)
	for tries := 0; ends() && tries < 10_000; tries++ {
		runtime.GC()
	}
	require.False(t, ends())
	e.end() // which was under way
	require.False(t, ends())
}
