package antagonist

import (
	"fmt"
	"strings"
	"time"
)

// A Fault is what goes wrong with a server between two instants of the run. The
// fields below From and To can be combined in one fault, and faults may
// overlap: factors multiply, and the first refusal wins.
type Fault struct {
	// Server is the name of the server that it befalls. Required.
	Server string

	// From and To are counted from the start of the run. The fault is over at
	// To. Required.
	From, To time.Duration

	// Share is the part of the calls that it strikes, above 0 and up to 1,
	// drawn for each call. It does not apply to LoseWorkers and Restart.
	// Default: 0, which means all of them.
	Share float64

	// Hang keeps every call it strikes from ending until the fault is over;
	// those already in service stop where they are. They hold their workers. A
	// handler that runs over HTTP goes on.
	Hang bool

	// Slow is the factor by which a call that starts service meanwhile takes
	// longer. Default: 0, none.
	Slow float64

	// Fail makes calls end with [ErrFailed] after their service time; over HTTP
	// with status 500.
	Fail bool

	// Refuse turns calls away at the door, as a port does that nobody listens
	// on: [ErrRefused], or ECONNREFUSED over HTTP.
	Refuse bool

	// Cut ends the answer half-way after the service time: [ErrCut], or a
	// connection closed in the middle of the body.
	Cut bool

	// LoseWorkers is the share of the workers that stop taking work, above 0
	// and up to 1. What they are doing they finish.
	LoseWorkers float64

	// Restart kills the process at From, with all calls that are in it
	// ([ErrReset]), keeps it down until To, and brings it back with an empty
	// cache.
	Restart bool
}

// String returns the fault as a few words, such as "payments: slow ×3 for 20%
// of calls, 30s to 50s".
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s, %v to %v", f.Server, f.what(), f.From, f.To)
}

func (f Fault) what() string {
	var does []string
	if f.Hang {
		does = append(does, "hang")
	}
	if f.Slow != 0 {
		does = append(does, fmt.Sprintf("slow ×%g", f.Slow))
	}
	if f.Fail {
		does = append(does, "fail")
	}
	if f.Refuse {
		does = append(does, "refuse")
	}
	if f.Cut {
		does = append(does, "cut answers")
	}
	if len(does) > 0 && f.Share != 0 && f.Share != 1 {
		does = []string{fmt.Sprintf("%s for %g%% of calls", strings.Join(does, ", "), 100*f.Share)}
	}
	if f.LoseWorkers != 0 {
		does = append(does, fmt.Sprintf("lose %g%% of the workers", 100*f.LoseWorkers))
	}
	if f.Restart {
		does = append(does, "restart")
	}
	if len(does) == 0 {
		return "nothing"
	}
	return strings.Join(does, ", ")
}
