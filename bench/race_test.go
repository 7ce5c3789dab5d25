//go:build race

package bench

// The race detector keeps some 20 KB for a goroutine that waits.
const crowd = 10_000
