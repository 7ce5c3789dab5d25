//go:build race

package bulkhead_test

// The race detector keeps some 20 KB for a goroutine that waits.
const (
	manyWaiters    = 10_000
	manyGoroutines = 10_000
)
