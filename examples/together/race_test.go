//go:build race

package together

const raceEnabled = true
