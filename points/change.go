package points

import (
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability/internal/text"
)

// An Origin is where the value of a setting comes from. An operator's value goes before that
// of a file, and that before the code's.
type Origin int8

// The origins.
const (
	Code     Origin = iota // the Config that the policy was made with
	File                   // a policy file
	Operator               // a person, for a time
)

var origins = [...]string{Code: "code", File: "file", Operator: "operator"}

// String returns "code", "file" or "operator".
func (o Origin) String() string {
	if o < 0 || int(o) >= len(origins) {
		return fmt.Sprintf("Origin(%d)", int8(o))
	}
	return origins[o]
}

// MarshalText returns the text of String.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (o *Origin) UnmarshalText(name []byte) error {
	for i, is := range origins {
		if string(name) == is {
			*o = Origin(i) //nolint:gosec // Less than len(origins).
			return nil
		}
	}
	return fmt.Errorf("points: no such origin: %s", text.Quoted(string(name)))
}

// A Change says on whose behalf something is changed.
type Change struct {
	Source Origin // File or Operator
	Who    string // the person or the file
	Why    string // the reason, for those that come later
	// Until is when the change ends, by itself: the setting goes back to what the file or the
	// code says by then, and a forced policy decides for itself again. It is for an operator's
	// changes only. The zero Until is one hour from now for these, and never for a file's.
	Until time.Time
}

// forHours is how long an operator's change holds that says no end.
const forHours = time.Hour

// Errors that Set and Do return, found by errors.Is.
var (
	ErrNotFound = errors.New("points: no such policy")

	errGone       = errors.New("points: the policy is not in use any more")
	errNoSettings = errors.New("points: the policy has no settings that can be changed")
	errNoActions  = errors.New("points: the policy has no actions")
)

// checked returns the change with its end.
func (c Change) checked(now time.Time) (Change, error) {
	switch {
	case c.Source == Operator && c.Until.IsZero():
		c.Until = now.Add(forHours)
	case c.Source == Operator && !c.Until.After(now):
		return c, fmt.Errorf("points: Change.Until (%v) has passed", c.Until)
	case c.Source == File && !c.Until.IsZero():
		return c, fmt.Errorf("points: Change.Until (%v) must be zero for a file's change", c.Until)
	case c.Source != File && c.Source != Operator:
		return c, fmt.Errorf("points: Change.Source (%v) must be File or Operator", c.Source)
	}
	return c, nil
}

// Set changes settings of the policies of that name and pattern, all of the values or none. A
// value is written as Point shows it. The empty value takes back what the same Source set
// before. Set returns [ErrNotFound] where there is no such policy, and an error for a setting
// that the policy does not have and for a value that it cannot use.
//
// Set waits for another Set or Do of the same point. A listener that a change calls, such as a
// breaker's OnChange, must not call Set or Do of that point itself: it would wait for ever.
func Set(policy, name string, values map[string]string, by Change) error {
	by, err := by.checked(time.Now())
	if err != nil {
		return err
	}
	entries := register.named(policy, name)
	if len(entries) == 0 {
		return fmt.Errorf("%w: %s %s", ErrNotFound, text.Quoted(policy), text.Quoted(name))
	}
	var undo []func() error
	for _, e := range entries {
		restore, err := e.change(values, by)
		if err != nil {
			for _, restore := range undo {
				err = errors.Join(err, restore())
			}
			return err
		}
		undo = append(undo, restore)
	}
	return nil
}

// Do does an action to the policies of that name and pattern: "force_open", "force_closed",
// "auto" or "reset", as far as they have it. key is that of a member of a Group, or "" for a
// policy that is not a Group and for all members of a Group. Do makes no member: it returns an
// error for a key that has none. It returns [ErrNotFound] where there is no such policy.
//
// Actions are an operator's. A forced policy decides for itself again at by.Until. Do waits as
// Set does.
func Do(policy, name, key, action string, by Change) error {
	by, err := by.checked(time.Now())
	if err != nil {
		return err
	}
	if by.Source != Operator {
		return fmt.Errorf("points: Change.Source (%v) must be Operator for an action", by.Source)
	}
	entries := register.named(policy, name)
	if len(entries) == 0 {
		return fmt.Errorf("%w: %s %s", ErrNotFound, text.Quoted(policy), text.Quoted(name))
	}
	var errs []error
	done := 0
	for _, e := range entries {
		if err := e.act(key, action, by); err != nil {
			errs = append(errs, err)
		} else {
			done++
		}
	}
	if done > 0 {
		return nil // of several policies of one name, the key is a member of some
	}
	return errors.Join(errs...)
}
