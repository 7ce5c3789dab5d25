package main

import "time"

// A clock tells how long a run has been going. All instants of a run are read
// from one clock.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }

// at is the instant at which the clock reads d.
func (c clock) at(d time.Duration) time.Time { return c.start.Add(d) }
