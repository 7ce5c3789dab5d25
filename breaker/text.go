package breaker

import "fmt"

var stateNames = [...]string{Closed: "closed", HalfOpen: "half_open", Open: "open"}

// String returns "closed", "half_open" or "open".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", s)
}

// MarshalText returns what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts "closed", "half_open" and "open".
func (s *State) UnmarshalText(name []byte) error {
	for i, known := range stateNames {
		if known == string(name) {
			*s = State(i) //nolint:gosec // There are three.
			return nil
		}
	}
	return fmt.Errorf("breaker: %.64q is no state", name)
}
