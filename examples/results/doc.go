// Package results reproduces, with this library's code, eight results that others
// have published about retries, backoff, hedging, queues, breakers and overload:
// each is a test, in virtual time and with a fixed seed, that holds this library
// to what was found. The page docs/RESULTS.md has the published figures beside
// those of the tests, which also see to it that the page is theirs.
//
//	go test ./examples/results           # holds the library to the results, and the page to the tests
//	go test ./examples/results -update   # writes the page; make results does the same
package results
