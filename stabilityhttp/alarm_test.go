package stabilityhttp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An alarm that rings late, for a clock that has given it up, rings its next clock for
// nothing: that one ends in its own time.
func TestAlarmRingsLate(t *testing.T) {
	x := &exchange{}
	x.Context, x.began = t.Context(), time.Now()
	c := &x.first.clock
	x.first.x = x
	c.set(x, x, &x.first, 0)
	done := c.Done()
	late := c.alarm.ring
	late()
	require.NoError(t, c.Err())
	select {
	case <-done:
		t.Fatal("the clock has ended")
	default:
	}
	c.end()
	<-done
	require.Nil(t, c.alarm)
	late() // rings nobody, or whoever has the alarm now
	require.Error(t, c.Err())
}
