//go:build !race

package bench

const crowd = 100_000
