package stabilityhttp

// The header fields that travel from a [Transport] to a handler of [NewHandler].
const (
	// DeadlineHeader is the default name of the field that carries the time which
	// the client has left for the answer, in whole milliseconds. It is a span of
	// time and no point in time, so that the clocks of both sides need not agree;
	// what the request spent on its way is not in it.
	DeadlineHeader = "X-Request-Timeout-Ms"
	// AttemptHeader is the name of the field that carries the number of the
	// client's attempt, from 1. It is there where the client makes the request
	// again if it fails; the server leaves that to the client, so that the attempts
	// of tiers do not multiply.
	AttemptHeader = "X-Request-Attempt"
)
