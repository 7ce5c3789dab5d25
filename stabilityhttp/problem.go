package stabilityhttp

import (
	"encoding/json"
	"net/http"
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
	header := w.Header()
	header.Del("Content-Length") // what a middleware may have set for another body
	header.Del("Content-Encoding")
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
