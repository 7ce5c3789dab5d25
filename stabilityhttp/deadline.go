package stabilityhttp

import (
	"context"
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

// parseDeadlines reads all values of a deadline header: the shortest time that is left,
// because none of those who set one waits for longer. A proxy may have joined several to
// one value, with commas.
func parseDeadlines(values []string) (shortest time.Duration, ok bool) {
	for _, value := range values {
		for value := range strings.SplitSeq(value, ",") {
			if left, valid := parseDeadline(value); valid && (!ok || left < shortest) {
				shortest, ok = left, true
			}
		}
	}
	return shortest, ok
}

// formatDeadline is left in milliseconds, rounded down: a server must not work on
// after the client has given up. Nothing left, or less than nothing, is "0".
func formatDeadline(left time.Duration) string {
	return strconv.FormatInt(max(left, 0).Milliseconds(), 10)
}

// clientsDeadline is the key under which the context of a request that a Handler serves
// has the deadline which its client asked for, where that is the one in force.
type clientsDeadline struct{}

// isClients reports whether the deadline of ctx is one that came with a request from
// outside. An earlier one that this process set is not.
func isClients(ctx context.Context) bool {
	clients, ok := ctx.Value(clientsDeadline{}).(time.Time)
	if !ok {
		return false
	}
	deadline, limited := ctx.Deadline()
	return limited && deadline.Equal(clients)
}
