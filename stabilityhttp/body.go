package stabilityhttp

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// What is read of a body before it is closed, so that its connection can carry the
// next request: no more bytes than arrive anyway with the rest, for no longer than
// nobody notices.
const (
	drainBytes = 16 << 10
	drainFor   = 10 * time.Millisecond
)

// A body is the response body of an attempt, which ends with it: at its end, at an
// error, or when it is closed.
type body attempt

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	a := (*attempt)(b)
	returned := false
	defer func() {
		if !returned { // the base's body panicked
			_ = a.clock.hasRead()
		}
	}()
	a.clock.read()
	if a.closing.Load() { // Close may be reading what is left: this would get what comes after
		returned = true
		_ = a.clock.hasRead()
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := a.body.Read(p)
	returned = true
	switch {
	case err == io.EOF: //nolint:errorlint // An io.Reader never wraps it.
		_ = a.end(nil)
	case err != nil:
		err = a.end(err)
	case a.clock.hasRead():
		// contextEnded left it to this Read to tell how the attempt ended, and nobody
		// knows whether there is another.
		_ = a.end(a.clock.Err())
	}
	return n, err
}

// Close implements [io.Closer]. Where the rest of the body is short and has arrived,
// the connection is kept for the next request.
func (b *body) Close() error {
	a := (*attempt)(b)
	if a.closing.Swap(true) {
		return a.closeBase()
	}
	// Before the body is closed, which ends a Read under way with an error that is
	// not the server's.
	a.drain()
	return a.closeBase()
}

// closeBase closes the base's body, once.
func (a *attempt) closeBase() error {
	if a.closed.Swap(true) {
		return nil
	}
	return a.body.Close()
}

// drain ends the attempt, after it has read a little of a body that nobody reads,
// where that lets the connection live on: one of HTTP/2 does in any case.
func (a *attempt) drain() {
	defer func() { _ = a.end(nil) }() // also when the base's body panics
	if a.over.Load() || a.clock.isRead() || a.resp.ProtoMajor != 1 || a.clock.Err() != nil {
		return
	}
	a.clock.hurry(drainFor)
	// A body that ends with its context has ended by then.
	late := time.AfterFunc(drainFor+time.Millisecond, func() { _ = a.closeBase() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, a.body, drainBytes+1) // EOF ends the attempt at the server
}

// An upgraded body is that of a response with status 101: the connection itself, whose time
// is the caller's.
type upgraded attempt

// Read implements [io.Reader].
func (u *upgraded) Read(p []byte) (int, error) { return u.body.Read(p) }

// Write implements [io.Writer].
func (u *upgraded) Write(p []byte) (int, error) { return u.body.(io.Writer).Write(p) }

// CloseWrite closes the half of the connection that leads to the server, where it can
// be closed alone. [net/http/httputil.ReverseProxy] asks for it.
func (u *upgraded) CloseWrite() error {
	if w, ok := u.body.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return fmt.Errorf("stabilityhttp: CloseWrite of a %T: %w", u.body, http.ErrNotSupported)
}

// Close implements [io.Closer].
func (u *upgraded) Close() error {
	a := (*attempt)(u)
	defer func() { _ = a.end(nil) }()
	return a.closeBase()
}
