//go:build !race

package bulkhead_test

const (
	manyWaiters    = 50_000
	manyGoroutines = 100_000
)
