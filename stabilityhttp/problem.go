package stabilityhttp

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A problem is the body of a refusal (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// ViolatedPolicies are names in the field RateLimit-Policy.
	ViolatedPolicies []string `json:"violated-policies,omitempty"`
}

// The problem types of draft-ietf-httpapi-ratelimit-headers-11, section 5.
const (
	typeQuotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	titleQuotaExceeded  = "Request cannot be satisfied as assigned quota has been exceeded"
	typeReducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

	titleReducedCapacity = "Request cannot be satisfied due to temporary server capacity constraints"
)

// writeProblem answers with a problem. One without a Type is that of its status.
func writeProblem(w http.ResponseWriter, status int, p problem) {
	p.Status = status
	if p.Type == "" {
		p.Type, p.Title = "about:blank", http.StatusText(status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and a number
		panic(err)
	}
	disown(w.Header())
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// writeReducedCapacity answers that there is too much to do, and when to come back; 0:
// it is not known.
func writeReducedCapacity(w http.ResponseWriter, wait time.Duration) {
	// No RateLimit: Retry-After should not be earlier than its window, and the two have
	// nothing to do with each other here.
	w.Header().Del("RateLimit")
	setRetryAfter(w.Header(), wait)
	writeProblem(w, http.StatusServiceUnavailable, problem{Type: typeReducedCapacity, Title: titleReducedCapacity})
}

const statusClientClosedRequest = 499

// writeLeft answers a client that has gone. Nobody reads it, but logs and figures
// further out do: 499 is nginx's for a client that has closed the request.
func writeLeft(w http.ResponseWriter) {
	disown(w.Header())
	w.WriteHeader(statusClientClosedRequest)
}

// disown takes out of a header what a middleware said about the page that this answer
// takes the place of, and keeps the answer out of every cache: it is for one request. A
// cache that took a refusal for the page would give it to everybody.
//
// What a middleware said to this client stays: cookies, and Vary with the fields of
// CORS, which let a browser's script read the refusal.
func disown(h http.Header) {
	for name := range h {
		if strings.HasSuffix(name, "Cache-Control") { // of a CDN, too: Cdn-Cache-Control, Cloudflare-Cdn-Cache-Control
			delete(h, name)
		}
	}
	for _, name := range page {
		delete(h, name)
	}
	h["Cache-Control"] = []string{"no-store"}
}

// page are the fields that describe a certain body, or say how long a cache may keep it.
var page = []string{
	"Content-Length", "Content-Encoding", "Content-Language", "Content-Location", "Content-Disposition", "Content-Range",
	"Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Accept-Ranges", "Link",
	"Etag", "Last-Modified", "Expires", "Age", "Pragma", "Surrogate-Control", "Surrogate-Key", "Cache-Tag",
	// To nginx, for which the first goes before Cache-Control and the second sends another file.
	"X-Accel-Expires", "X-Accel-Redirect",
}
