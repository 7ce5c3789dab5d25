package stabilityhttp

import (
	"strconv"
	"strings"
	"time"
)

// maxDeadline bounds what a client can ask for, so that no sum with it overflows.
const maxDeadline = 365 * 24 * time.Hour

// parseDeadline reads the value of a deadline header (see [DeadlineHeader]): the
// time that is left, from 0 to maxDeadline. A negative number is 0: the client's
// time was over when it sent. Anything else but digits is as if the header were not
// there.
func parseDeadline(value string) (time.Duration, bool) {
	value = strings.Trim(value, " \t")
	digits, negative := strings.CutPrefix(value, "-")
	left, ok := parseDigits(digits, time.Millisecond, maxDeadline)
	if negative {
		left = 0
	}
	return left, ok
}

// formatDeadline is left in milliseconds, rounded down: a server must not work on
// after the client has given up. Nothing left, or less than nothing, is "0".
func formatDeadline(left time.Duration) string {
	return strconv.FormatInt(max(left, 0).Milliseconds(), 10)
}
