// Package live keeps the configuration that a policy works by, so that it can be changed while
// calls go on: a call loads it once, and sees one configuration from its beginning to its end.
package live

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/crumplezone/stability"
)

// ErrMember is what a member of a Group answers when it is to be changed by itself.
var ErrMember = errors.New("a member of a Group is changed through its Group")

// A State is a configuration in force, which nobody changes any more.
type State[C any] struct {
	Config C              // with the Name that the policy was made with
	Mode   stability.Mode // as SetMode was told; Config may say Observe besides
}

// A Value is the State in force. Load may be called by any number of goroutines, and
// everything else too.
type Value[C any] struct {
	changing sync.Mutex
	state    atomic.Pointer[State[C]]
}

// Init sets the first State, in ModeOn.
func (v *Value[C]) Init(cfg C) { v.state.Store(&State[C]{Config: cfg}) }

// Load returns the State in force.
func (v *Value[C]) Load() *State[C] { return v.state.Load() }

// Config returns the configuration in force.
func (v *Value[C]) Config() *C { return &v.state.Load().Config }

// Change puts a State in force that change makes of the present one, and calls apply, which may
// be nil, for what has to follow it. One change runs at a time, to the end of its apply. Where
// change returns an error, nothing is changed.
func (v *Value[C]) Change(change func(*State[C]) error, apply func()) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	next := *v.state.Load()
	if err := change(&next); err != nil {
		return err
	}
	v.state.Store(&next)
	if apply != nil {
		apply()
	}
	return nil
}

// SetMode puts a mode in force that is one of those supported.
func (v *Value[C]) SetMode(policy string, mode stability.Mode, apply func(), supported ...stability.Mode) error {
	if !slices.Contains(supported, mode) {
		return fmt.Errorf("%s: mode %v is none of %v", policy, mode, supported)
	}
	return v.Change(func(s *State[C]) error {
		s.Mode = mode
		return nil
	}, apply)
}
