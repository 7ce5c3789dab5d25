package breaker

import "fmt"

// String returns "closed", "half_open" or "open".
func (s State) String() string { return text(s, stateNames[:], "state") }

// MarshalText returns what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts "closed", "half_open" and "open".
func (s *State) UnmarshalText(name []byte) error { return parse(s, stateNames[:], name, "state") }

// String returns "auto", "forced_open" or "forced_closed".
func (m Mode) String() string { return text(m, modeNames[:], "mode") }

// MarshalText returns what String does.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts "auto", "forced_open" and "forced_closed".
func (m *Mode) UnmarshalText(name []byte) error { return parse(m, modeNames[:], name, "mode") }

var (
	stateNames = [...]string{Closed: "closed", HalfOpen: "half_open", Open: "open"}
	modeNames  = [...]string{Auto: "auto", ForcedOpen: "forced_open", ForcedClosed: "forced_closed"}
)

func text[T ~uint8](v T, names []string, what string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", what, v)
}

func parse[T ~uint8](to *T, names []string, name []byte, what string) error {
	for i, known := range names {
		if known == string(name) {
			*to = T(i) //nolint:gosec // There are three.
			return nil
		}
	}
	return fmt.Errorf("breaker: %.64q is no %s", name, what)
}
