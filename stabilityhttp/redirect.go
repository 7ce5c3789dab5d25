package stabilityhttp

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// redirects are those that an [http.Client] followed to come to a request. It tells by
// Request.Response, whose Request is the one before.
type redirects struct {
	began time.Time // when the first request did; zero: it is not known
	away  bool      // they led to another host than the first request's
}

type redirectsKey struct{}

// redirectsTo returns the redirects that led to req; nil: none. They are as long as the
// client lets them be, ten by default.
func redirectsTo(req *http.Request) *redirects {
	if req.Response == nil || req.Response.Request == nil {
		return nil
	}
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	began, _ := first.Context().Value(redirectsKey{}).(time.Time)
	return &redirects{began: began, away: hostOf(first) != hostOf(req)}
}

// left returns what they have left at now of a time limit for all of them; 0: none, as it
// was.
func (r *redirects) left(limit time.Duration, now time.Time) (left time.Duration, over bool) {
	if r == nil || r.began.IsZero() || limit == 0 {
		return limit, false
	}
	left = limit - now.Sub(r.began)
	return left, left <= 0
}

// hostOf returns the host of a request in the form that it has in a key, without a port.
func hostOf(req *http.Request) string {
	if req.URL == nil {
		return ""
	}
	u := url.URL{Host: strings.TrimSuffix(req.URL.Host, ":"+req.URL.Port())}
	host, _ := canonicalHost(&u)
	return host
}

// isRedirect reports whether a client follows the response to another request.
func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header["Location"] != nil
	}
	return false
}

// asked returns the request of a response for the caller. That of a redirect knows when
// the first request began.
func (x *exchange) asked(resp *http.Response) *http.Request {
	if x.t.timeout == 0 || x.chain != nil || !isRedirect(resp) {
		return x.req
	}
	return x.req.WithContext(context.WithValue(x.req.Context(), redirectsKey{}, x.began))
}
