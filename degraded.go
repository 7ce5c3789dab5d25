package stability

import "time"

// A Degraded says why a value is not the one that was asked for, but stands in for
// it: an earlier one, a default, an empty list. It comes beside the value, from
// fallback.Do and flight.Flights; where it is nil the value is the real one.
//
// It is no error, so that the two cannot be mistaken for each other. It may be
// shared by many callers: it must not be changed.
type Degraded struct {
	// Cause is the error that the call ended in.
	Cause error
	// Age is how old the value is, where it is an earlier answer. 0: it is none, or
	// its age is not known.
	Age time.Duration
}
