package stability

import (
	"fmt"

	"github.com/crumplezone/stability/internal/text"
)

// A Mode says what a policy does with the calls that it would refuse. It is set while the
// process runs, by the SetMode of a policy: an operator turns a limit off, or a
// dependency, without a deployment. The zero Mode is ModeOn.
type Mode int8

// The modes.
const (
	// ModeOn: the policy does what its Config says.
	ModeOn Mode = iota
	// ModeObserve: the policy decides and counts, and refuses nothing. A limit that is to be
	// introduced is watched like this first.
	ModeObserve
	// ModeOff: calls pass as if there was no policy. A Retry makes one attempt, a Hedge
	// starts no second call.
	ModeOff
	// ModeOpen: every call is refused, as by an open breaker: a kill switch for what is
	// behind the policy.
	ModeOpen
)

var modes = [...]string{ModeOn: "on", ModeObserve: "observe", ModeOff: "off", ModeOpen: "open"}

// String returns "on", "observe", "off" or "open".
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modes) {
		return fmt.Sprintf("Mode(%d)", int8(m))
	}
	return modes[m]
}

// MarshalText returns the text of String, or an error for a Mode that is none of the four.
func (m Mode) MarshalText() ([]byte, error) {
	if m < 0 || int(m) >= len(modes) {
		return nil, fmt.Errorf("stability: no such mode: %d", int8(m))
	}
	return []byte(modes[m]), nil
}

// UnmarshalText reads what MarshalText writes. It leaves m as it is and returns an error for
// every other text.
func (m *Mode) UnmarshalText(name []byte) error {
	for i, is := range modes {
		if string(name) == is {
			*m = Mode(i) //nolint:gosec // Less than len(modes).
			return nil
		}
	}
	return fmt.Errorf("stability: no such mode: %q (on, observe, off or open)", text.Shortened(string(name), text.MaxShown))
}
