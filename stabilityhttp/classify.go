package stabilityhttp

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
)

// Classify is the TransportConfig.Classify used where none is given.
//
// An err is a Failure, whether it came in place of the response or in the midst of
// its body. Overload is Ignored: the status 429, and 503 with a field that says when to
// come back (Retry-After, or RateLimit), or, to a Transport, with the body in which a
// Handler says so. The server is alive, and asks for less. The other statuses from 500 to 599 are a Failure. Exceptions are 501 and
// 505, with which a server says that it never answers such a request. All other statuses
// are a Success: the server answered.
func Classify(resp *http.Response, err error) stability.Outcome {
	switch {
	case err != nil || resp == nil:
		return stability.Failure
	case shed(resp):
		return stability.Ignored
	case resp.StatusCode == http.StatusNotImplemented, resp.StatusCode == http.StatusHTTPVersionNotSupported:
		return stability.Success
	case resp.StatusCode >= 500:
		return stability.Failure
	default:
		return stability.Success
	}
}

// shed reports whether the server shed the request because it has too much to do. A
// server of ours says so with a time to come back, as any server is to do (RFC 9110,
// section 15.6.4); a 503 without one is that of a server which is down.
func shed(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusServiceUnavailable:
		_, asked := pushback(resp.Header, time.Time{})
		return asked || saysOverload(resp.Body)
	}
	return false
}

// Retryable is the TransportConfig.Retryable used where none is given.
//
// A request that certainly was not processed may be made again: the connection
// could not be made, or the status is 429. Where it may have been processed, it must
// be idempotent: its method is GET, HEAD, OPTIONS, TRACE, PUT or DELETE (RFC 9110,
// section 9.2.2), or it has a header Idempotency-Key. Then it is made again after
// the statuses 408, 502, 503 and 504 and after errors, but for those that come again
// every time: a certificate that does not verify, a host that does not exist, a
// request that net/http does not send.
func Retryable(req *http.Request, resp *http.Response, err error) bool {
	if resp != nil {
		switch resp.StatusCode {
		case http.StatusTooManyRequests:
			return true
		case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return idempotent(req)
		}
		return false
	}
	switch {
	case isPermanent(req, err):
		return false
	case isDial(err):
		return true
	default:
		return idempotent(req)
	}
}

// idempotent reports whether it does no harm if the server gets the request twice.
func idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	// As net/http has it, which does the same where a connection turns out dead.
	return req.Header["Idempotency-Key"] != nil || req.Header["X-Idempotency-Key"] != nil
}

// isDial reports whether err happened before there was a connection.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// isPermanent reports whether err comes again whenever the request is made.
func isPermanent(req *http.Request, err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var dns *net.DNSError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &dns) && dns.IsNotFound || isMalformed(req, err)
}
