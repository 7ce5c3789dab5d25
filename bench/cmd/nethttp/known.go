package main

import "strings"

// A reason is why tests differ, and which.
type reason struct {
	title string
	why   string
	tests []string
}

// reasons are the differences that are known: each with the reason why it is as it
// is. A test stands for its subtests too. One after which stands " (sometimes)" need
// not differ each time; one before which stands the name of its package and a space
// is of a suite other than net/http.
var reasons = []reason{
	{
		title: "A request that failed is made again",
		why: `
net/http makes a request again only where a connection that it had kept turns out to be dead. A default Transport makes
an idempotent request three times where it fails, or is answered 502, 503 or 504. These tests count dials, connections,
lines of a log or calls of a handler that is to be called once, or the handler waits for what the test gives it once.
They pass without PartRetry.`,
		tests: []string{
			"TestCancelRequestWhenSharingConnection",
			"TestDontCacheBrokenHTTP2Conn",
			"TestServerKeepAliveAfterWriteError",
			"TestTimeoutHandler",
			"TestTimeoutHandlerContextCanceled",
			"TestTimeoutHandlerRaceHeaderTimeout",
			"TestTimeoutHandlerSuperfluousLogs",
			"TestTransportProxyConnectHeader",
			"TestTransportProxyGetConnectHeader",
			"TestTransportResponseHeaderTimeout",
			"TestWriteDeadlineEnforcedPerStream",
			"TestWriteHeader0",
			"net/http/httputil TestReverseProxy_CopyBuffer",
		},
	},
	{
		title: "An error says how often it was tried",
		why: `
After the last attempt the error is a retry.Error around that attempt's. errors.Is and errors.As find what these tests
look for with ==, by a type assertion or in the whole text. They pass without PartRetry.`,
		tests: []string{
			"TestStripPasswordFromError",
			"TestTransportDialPreservesNetOpProxyError",
			"TestTransportReturnsPeekError",
			"TestTransportTraceGotConnH2IdleConns",
		},
	},
	{
		title: "Two header fields are added",
		why: `
A default Transport says how much time is left (X-Request-Timeout-Ms) and which attempt this is (X-Request-Attempt).
These tests compare a request with what net/http sends, to the letter. They pass without PartDeadlineHeader and
PartRetry.`,
		tests: []string{
			"TestClientCopyHeadersOnRedirect",
			"TestRetryRequestsOnError",
			"TestTransportFlushesBodyChunks",
			"net/http/httputil ExampleDumpRequest",
			"net/http/httputil ExampleDumpRequestOut",
			"net/http/httputil TestDumpRequest",
		},
	},
	{
		title: "A request without time left is not begun",
		why: `
The client gives a request a few milliseconds, the Transport says so to the server, and the Handler answers 504 at once
where less than MinTimeout (5ms) is left. The tests want the handler to begin with it all the same, and the client to
have run out of time. Whether the answer is there before that is a matter of luck. They pass without PartDeadlineHeader.`,
		tests: []string{
			"TestClientTimeout" + sometimes,
			"TestClientTimeout_Headers" + sometimes,
			"TestClientTimeoutKillsConn_BeforeHeaders" + sometimes,
		},
	},
	{
		title: "The bulkhead refuses what it cannot let in soon",
		why: `
300 requests begin at once, for one host. A default Transport lets 100 of them out at a time, lets 1000 more wait for a
second, and refuses the rest. The test passes without PartBulkhead.`,
		tests: []string{"TestTransportDecrementConnWhenIdleConnRemoved"},
	},
	{
		title: "Who has no connection waits before net/http",
		why: `
The bulkhead of a host is as large as the MaxConnsPerHost of the base, so that a request waits in it until a connection
may be had, and comes to net/http then. The test waits until a second request has come to net/http while the only
connection is being made for the first. It passes without PartBulkhead.`,
		tests: []string{"TestTransportMaxConnsPerHostIncludeDialInProgress"},
	},
	{
		title: "The breaker opens for calls that ran out of time",
		why: `
The test makes calls without end, whose deadlines all pass while the server has them, and wants each of them to say so.
A deadline that passes while a host hangs is how most outages look from outside: it is a failure, and after enough of
them the breaker refuses. The test passes without PartBreaker.`,
		tests: []string{"connectrpc.com/connect TestClientDeadlineHandling"},
	},
	{
		title: "A 101 is the answer to a request for an upgrade",
		why: `
net/http hands the connection over with each status 101. To a Transport, one is an error where the request has asked for
no upgrade by the fields Connection and Upgrade: what nobody asked for is above every limit. These tests send no such
fields.`,
		tests: []string{
			"TestDisableKeepAliveUpgrade",
			"TestTransportTreat101Terminal",
		},
	},
	{
		title: "The body of a 101 is an io.ReadWriteCloser",
		why: `
That is what net/http promises of it, and what a Transport returns. The RoundTripper of this suite returns a body that is a
net.Conn as well, and the test, which looks at the one end or the other by chance, asks that for its address.`,
		tests: []string{"github.com/coder/websocket TestConn" + sometimes},
	},
	{
		title: "CancelRequest knows requests by their address",
		why: `
The method CancelRequest of http.Transport, which is deprecated since Go 1.6, looks for the request that it is given
among those that RoundTrip was given. A Transport gives its base a copy, since the request has another context, and has
no such method. A request is canceled through its context, or its Cancel, which work.`,
		tests: []string{
			"TestTransportAndServerSharedBodyRace",
			"TestTransportCancelRequest",
			"TestTransportCancelRequestBeforeResponseHeaders",
			"TestTransportCancelRequestInDial",
			"TestTransportCancelRequestWithBody",
			"net/http/httputil TestReverseProxyCancellation",
		},
	},
	{
		title: "The suite does not wait for goroutines to end",
		why: `
It counts them the moment after its last test, when connections that were closed may still be about to end. The test
leaves some behind without guards too, though less often.`,
		tests: []string{"github.com/coder/websocket TestDialViaProxy" + sometimes},
	},
}

const sometimes = " (sometimes)"

// matches reports whether a test of the table is the test of a suite, or one around it.
func matches(entry, suite, test string) bool {
	entry = strings.TrimSuffix(entry, sometimes)
	pkg, name, ok := strings.Cut(entry, " ")
	if !ok {
		pkg, name = "net/http", entry
	}
	return pkg == suite && (name == test || strings.HasPrefix(test, name+"/"))
}

// explain returns the reason of a difference, or nil.
func explain(known []reason, d *difference) *reason {
	for i := range known {
		for _, entry := range known[i].tests {
			if matches(entry, d.suite, d.test) {
				return &known[i]
			}
		}
	}
	return nil
}

// isSometimes reports whether the table expects a difference, and not each time.
func isSometimes(known []reason, d *difference) bool {
	for _, r := range known {
		for _, entry := range r.tests {
			if strings.HasSuffix(entry, sometimes) && matches(entry, d.suite, d.test) {
				return true
			}
		}
	}
	return false
}

// stale are the tests of the table that do not differ any more.
func stale(known []reason, found []*difference) []string {
	var names []string
	for _, r := range known {
		for _, entry := range r.tests {
			needed := strings.HasSuffix(entry, sometimes)
			for _, d := range found {
				needed = needed || matches(entry, d.suite, d.test)
			}
			if !needed {
				names = append(names, entry)
			}
		}
	}
	return names
}
