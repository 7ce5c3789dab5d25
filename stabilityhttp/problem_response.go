package stabilityhttp

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// longestProblem is how long a body may be to be looked into for a problem of ours.
const longestProblem = 1 << 10

// A problemBody is a body that was looked into, and is read again from its start.
type problemBody struct {
	io.Reader
	io.Closer
	overload bool // its problem is that there is too much to do
}

// lookForProblem finds out whether a 503 says in its body that the server sheds load, as a
// Handler does, where the fields that say so were lost on the way: a proxy may pass on
// neither Retry-After nor RateLimit. It reads no body but a short one of the type of a
// problem, of which the length is known.
func lookForProblem(resp *http.Response) {
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Body == nil || resp.Body == http.NoBody ||
		resp.ContentLength <= 0 || resp.ContentLength > longestProblem {
		return
	}
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/problem+json") {
		return
	}
	if _, asked := pushback(resp.Header, time.Time{}); asked {
		return
	}
	looked := false
	defer func() {
		if !looked { // the base's body panicked
			_ = resp.Body.Close()
		}
	}()
	text := make([]byte, resp.ContentLength)
	n, err := io.ReadFull(resp.Body, text) // an error comes again for who reads on
	looked = true
	var p problem
	overload := err == nil && json.Unmarshal(text, &p) == nil && (p.Type == typeReducedCapacity || p.Type == typeQuotaExceeded)
	resp.Body = &problemBody{io.MultiReader(bytes.NewReader(text[:n]), resp.Body), resp.Body, overload}
}

// saysOverload reports whether a body that was looked into has a problem that means that
// the server sheds load.
func saysOverload(b io.ReadCloser) bool {
	switch b := b.(type) {
	case *body:
		return saysOverload(b.body)
	case *problemBody:
		return b.overload
	}
	return false
}
