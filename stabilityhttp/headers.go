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
	// of tiers do not multiply. A server in the middle that answers 500 where the
	// next one did not answer, as many handlers do with any error, thereby sees to
	// it that nobody tries again: its own client leaves that to the first, which
	// does not repeat what a 500 says. It should pass the failure on as what it is
	// to a gateway: 502, 503 or 504.
	AttemptHeader = "X-Request-Attempt"
	// RetryAfterMsHeader is the name of the field beside Retry-After in which a Handler
	// says in milliseconds when to come back, for clients that can read it: Retry-After
	// has whole seconds only. A Transport believes it before Retry-After.
	RetryAfterMsHeader = "Retry-After-Ms"
	// CriticalityHeader is the name of the field that carries how much the request matters
	// ([stability.Criticality]). A Transport sends it where the request's context says
	// something else than Critical.
	CriticalityHeader = "X-Request-Criticality"
	// CallerHeader is the name of the field that carries on whose behalf the request is made
	// ([stability.WithCaller]). A Transport sends it where TransportConfig.Caller says so.
	CallerHeader = "X-Request-Caller"
)
