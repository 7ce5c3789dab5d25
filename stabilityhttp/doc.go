// Package stabilityhttp brings the stability patterns to net/http: a [Transport]
// guards the requests of an http.Client, and [NewHandler] the requests that an
// http.Handler answers.
//
//	client := stabilityhttp.NewClient(stabilityhttp.TransportConfig{})
//
// is a client with a time limit for the whole request (30s) and for each wait for
// the server (10s), up to three attempts at what may be made again, and for each host
// a budget for that of a fifth of the requests, a bulkhead (100 requests under way, as
// many waiting for up to a second) and a breaker. [TransportConfig] changes each
// of them, adds a rate limit and a hedge, and leaves out what is not wanted.
//
// What a gate takes is held until the response's body ends, because that is when
// the server and the network are done with the request: a server that sends the
// headers and then stalls, or half a body, has failed. All bodies are to be closed,
// as ever with net/http.
//
// The client and the server tell each other what they know: a request carries the
// time that is left to it ([DeadlineHeader]) and the number of the attempt
// ([AttemptHeader]), so that nobody works on what nobody waits for, and the attempts
// of tiers do not multiply; a response carries Retry-After and RateLimit, and the
// client does as they say.
package stabilityhttp
