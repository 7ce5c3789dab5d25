package retry

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A goroutine that read the clock and then had to wait for the lock does not turn
// the window back.
func TestStaleReadingOfTheClock(t *testing.T) {
	b := NewBudget(BudgetConfig{})
	b.turn(7)
	b.turn(3)
	require.EqualValues(t, 7, b.present.Load())
}
