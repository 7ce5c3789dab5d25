package policytest

import (
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Elapse makes what is reachable from the pointer root what it would be had so much
// time passed: by the monotonic clock, and on the wall, which somebody has set if
// the two differ. It shifts every time.Time in it into the past, each of its two
// readings by its own. It returns how many there were.
//
// A bubble has no monotonic clock: Elapse is for tests outside of one. Timers do not
// run. Nobody else may use root meanwhile. What only functions, channels, maps and
// interfaces that hold no pointer lead to is left as it is.
func Elapse(t testing.TB, root any, monotonic, wall time.Duration) int {
	t.Helper()
	now := time.Now()
	then := now
	shift(&then, -monotonic, -wall)
	require.Equal(t, monotonic, now.Sub(then), "the monotonic reading is shifted")
	require.Equal(t, wall, now.Round(0).Sub(then.Round(0)), "and so is that of the wall clock")

	w := walker{seen: map[visit]bool{}, monotonic: -monotonic, wall: -wall}
	w.walk(reflect.ValueOf(root))
	return w.found
}

// shift adds to the readings of t. Package time adds to both alike: here it is done
// to the words that a Time consists of. A Time without a monotonic reading is one
// of the wall clock.
func shift(t *time.Time, monotonic, wall time.Duration) {
	words := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(t)) //nolint:gosec // The layout is checked by Elapse, each time.
	const hasMonotonic = 1 << 63
	*t = t.Add(wall)
	if words.wall&hasMonotonic != 0 {
		words.ext += int64(monotonic - wall)
	}
}

type visit struct {
	p unsafe.Pointer
	t reflect.Type
}

type walker struct {
	seen  map[visit]bool
	found int

	monotonic, wall time.Duration
}

func (w *walker) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if at := (visit{v.UnsafePointer(), v.Type()}); !v.IsNil() && !w.seen[at] {
			w.seen[at] = true
			w.walk(v.Elem())
		}
	case reflect.Interface:
		w.walk(v.Elem())
	case reflect.Struct:
		w.walkStruct(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.walk(v.Index(i))
		}
	}
}

func (w *walker) walkStruct(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if !v.CanAddr() || v.IsZero() {
			return
		}
		p := unsafe.Pointer(v.UnsafeAddr()) //nolint:gosec // Fields are not exported.
		// A struct that is part of another may be pointed to as well.
		if at := (visit{p, v.Type()}); !w.seen[at] {
			w.seen[at] = true
			shift((*time.Time)(p), w.monotonic, w.wall)
			w.found++
		}
	case v.Type() == reflect.TypeFor[time.Timer]():
	case isAtomicPointer(v):
		// atomic.Pointer[T] holds an unsafe.Pointer: to what is in the type of Load.
		if p := v.FieldByName("v").UnsafePointer(); p != nil {
			load, _ := reflect.PointerTo(v.Type()).MethodByName("Load")
			w.walk(reflect.NewAt(load.Type.Out(0).Elem(), p))
		}
	default:
		for i := range v.NumField() {
			w.walk(v.Field(i))
		}
	}
}

func isAtomicPointer(v reflect.Value) bool {
	field, ok := v.Type().FieldByName("v")
	return ok && v.Type().PkgPath() == "sync/atomic" && field.Type.Kind() == reflect.UnsafePointer
}
