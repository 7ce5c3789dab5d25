//go:build race

package antagonist

// With the race detector a run takes ten times as long, so means get less time
// to settle, and more room.
const (
	theoryFor = 60 * sec
	loose     = 2
)
