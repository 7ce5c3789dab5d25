package stability

import (
	"context"
	"fmt"
	"iter"

	"github.com/crumplezone/stability/internal/keyed"
)

// A Group keeps one T for each key, in bounded memory: a policy for each host, shard or tenant.
// The Groups of this module's patterns are made of it, and a type of a user's own can be kept
// in one.
//
// A nil *Group has nil members. All methods may be called by any number of goroutines.
type Group[T any] struct {
	members *keyed.Map[T]
	key     func(*T) string
}

// Members says what a [Group] has to know of its members. The functions are called with the
// Group locked, so they must not use it, and must not block.
type Members[T any] struct {
	// Create makes the member of a key out of a zero T. shared is true for a member that keys
	// past the bound share, which has the key [OverflowKey]. A panic of Create leaves the Group
	// as it was. Required.
	Create func(member *T, key string, shared bool)
	// Key returns the key that Create was given. Required.
	Key func(member *T) string
	// Blank reports whether a new member would be the same, so that nothing is lost when this
	// one is forgotten. Default nil: no member is blank.
	Blank func(member *T) bool
	// Harmless reports whether the member may be forgotten when nobody has asked for it in
	// Keys.IdleFor and its place is needed, whatever it knows: it refuses nothing, and no call
	// is under way. It is true where Blank is. Default nil: Blank decides.
	Harmless func(member *T) bool
}

// GroupStats is how many keys a [Group] has.
type GroupStats struct {
	Keys       int   // keys with a member of their own
	Overflowed int64 // how often Get found no room for a key
}

// NewGroup returns an empty Group whose members are made by m.Create and bounded by keys. It
// panics with the error of [Keys.Validate], and where Create or Key is nil.
func NewGroup[T any](keys Keys, m Members[T]) *Group[T] {
	if err := keys.Validate(); err != nil {
		panic(err)
	}
	if m.Create == nil || m.Key == nil {
		panic("stability: Members.Create and Members.Key must not be nil")
	}
	if m.Blank == nil {
		m.Blank = func(*T) bool { return false }
	}
	return &Group[T]{members: keyed.New(keyed.Keys(keys), keyed.Members[T](m)), key: m.Key}
}

// Get returns the member of the key, or, where there is no room for one, that which the key
// shares with others past the bound ([Keys.Max]). Ask for it at each call: a member that is
// kept elsewhere can be forgotten here, and another be made in its place. Get does not block,
// and allocates only to make a member.
func (g *Group[T]) Get(key string) *T {
	if g == nil {
		return nil
	}
	return g.members.Get(key)
}

// Lookup returns the key's own member, if the Group has one. It makes none, and does not count
// as use of it.
func (g *Group[T]) Lookup(key string) (*T, bool) {
	if g == nil {
		return nil, false
	}
	return g.members.Lookup(key)
}

// Shared returns a member that keys past the bound share: the first of them, which it makes if
// need be.
func (g *Group[T]) Shared() *T {
	if g == nil {
		return nil
	}
	return g.members.Overflow()
}

// All returns the keys and members, each member once. Those that keys past the bound share
// come last, each with the key [OverflowKey]. The Group may be used and changed meanwhile: of
// the members that are made or forgotten in that time, All returns some.
func (g *Group[T]) All() iter.Seq2[string, *T] {
	return func(yield func(string, *T) bool) {
		if g == nil {
			return
		}
		for member := range g.members.All() {
			if !yield(g.key(member), member) {
				return
			}
		}
	}
}

// Len returns how many keys have a member of their own.
func (g *Group[T]) Len() int {
	if g == nil {
		return 0
	}
	return g.members.Len()
}

// Stats returns a reading of the moment.
func (g *Group[T]) Stats() GroupStats {
	if g == nil {
		return GroupStats{}
	}
	return GroupStats{Keys: g.members.Len(), Overflowed: g.members.Overflowed()}
}

// By returns a gate that passes each call through the member of its key, which key returns
// given the call's context. It is for a [Chain]. It panics where *T is no [Gate]. The gate of a
// nil Group lets every call in, and does not ask for a key.
func (g *Group[T]) By(key func(context.Context) string) Gate {
	if _, ok := any((*T)(nil)).(Gate); !ok {
		panic(fmt.Sprintf("stability: Group.By: %T is no Gate", (*T)(nil)))
	}
	if g == nil {
		return Gates()
	}
	return &byKey[T]{group: g, key: key}
}

// byKey is the gate of a Group.
type byKey[T any] struct {
	group *Group[T]
	key   func(context.Context) string
}

// Run implements [Policy].
func (b *byKey[T]) Run(ctx context.Context, fn func(context.Context) error) error {
	return any(b.group.Get(b.key(ctx))).(Gate).Run(ctx, fn)
}

// Enter implements [Gate].
func (b *byKey[T]) Enter(ctx context.Context) (*Pass, error) {
	return any(b.group.Get(b.key(ctx))).(Gate).Enter(ctx)
}

// Admit implements [Admitter].
func (b *byKey[T]) Admit(ctx context.Context) (context.Context, Admission, error) {
	gate, _ := asAdmitter(any(b.group.Get(b.key(ctx))).(Gate))
	return gate.Admit(ctx)
}
