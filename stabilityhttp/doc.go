// Package stabilityhttp brings the stability patterns to net/http: a [Transport]
// guards the requests of an http.Client, and [NewHandler] the requests that an
// http.Handler answers.
//
//	client := stabilityhttp.NewClient(stabilityhttp.TransportConfig{})
//
// is a client with a time limit for the whole request and for each wait, retries
// of what may be retried within a budget, and a bulkhead and a breaker for each
// host. What a gate takes is held until the response's body ends.
package stabilityhttp
