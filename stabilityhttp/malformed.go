package stabilityhttp

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// isMalformed reports whether net/http refused to send the request, because the caller
// made it wrong. It asks the request. An error alone proves nothing: its text may be that
// of a proxy, and a server of HTTP/2 may have announced that it takes no header at all.
func isMalformed(req *http.Request, err error) bool {
	if unsendable(req) {
		return true
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "invalid Trailer key"): // by HTTP/2, which looks at any
		return hasBadTrailer(req)
	case strings.Contains(text, "http: no Host in request URL"):
		return req.URL.Host == ""
	case strings.Contains(text, "idna: "):
		return !isASCII(req.URL.Host) || strings.Contains(req.URL.Host, "xn--")
	case strings.Contains(text, "request header list larger than peer's advertised limit"):
		return headerSize(req) > ordinaryHeader
	case strings.Contains(text, "invalid request :path"):
		return !strings.HasPrefix(req.URL.RequestURI(), "/")
	case strings.Contains(text, "http2: invalid "):
		return req.Header["Connection"] != nil || req.Header["Upgrade"] != nil || req.Header["Transfer-Encoding"] != nil
	case strings.Contains(text, "http: invalid Host header"):
		return !isHost(req.Host) || !isHost(req.URL.Host)
	}
	return false
}

// ordinaryHeader is how much header each server takes that means to serve at all.
const ordinaryHeader = 8 << 10

// headerSize returns the size of a request's header as HTTP/2 reckons it (RFC 9113,
// section 10.5.1), but for the pseudo-header fields.
func headerSize(req *http.Request) int {
	size := len(req.URL.Host) + len(req.URL.Path) + len(req.URL.RawQuery)
	for name, values := range req.Header {
		for _, value := range values {
			size += len(name) + len(value) + 32
		}
	}
	return size
}

// unsendable reports whether net/http refuses to write the request. Over HTTP/1 it then
// closes the connection, and where the one who reads from it is the first to say so, the
// error does not say why.
func unsendable(req *http.Request) bool {
	if req.ContentLength != 0 && req.Body == nil || !isToken(req.Method) || hasControl(req.URL.RequestURI()) {
		return true
	}
	if chunked := req.Body != nil && req.Body != http.NoBody && req.ContentLength <= 0; chunked && hasBadTrailer(req) {
		return true
	}
	return hasBadField(req.Header) || hasBadField(req.Trailer)
}

// hasBadTrailer reports whether the request announces a trailer that says how to read it.
func hasBadTrailer(req *http.Request) bool {
	for name := range req.Trailer {
		switch http.CanonicalHeaderKey(name) {
		case "Transfer-Encoding", "Trailer", "Content-Length":
			return true
		}
	}
	return false
}

func hasBadField(h http.Header) bool {
	for name, values := range h {
		if name == "" || !isToken(name) {
			return true
		}
		for _, value := range values {
			if hasControl(strings.ReplaceAll(value, "\t", " ")) {
				return true
			}
		}
	}
	return false
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

func isHost(s string) bool {
	for _, c := range []byte(s) {
		if c < utf8.RuneSelf && !isAlpha(c) && !isDigit(c) && strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) < 0 {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf })
}
