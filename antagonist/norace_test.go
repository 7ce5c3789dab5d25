//go:build !race

package antagonist

// theoryFor is how long means are given to settle, and loose widens what they
// may be off by.
const (
	theoryFor = 400 * sec
	loose     = 1
)
