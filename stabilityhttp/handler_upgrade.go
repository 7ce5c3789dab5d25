package stabilityhttp

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// asksForUpgrade reports whether the request asks for the connection, which its handler
// is then to hijack: by the field Upgrade, or as a CONNECT.
func asksForUpgrade(r *http.Request) bool {
	if r.ProtoMajor != 1 {
		return false
	}
	if r.Method == http.MethodConnect {
		return true
	}
	return upgrades(r.Header)
}

// upgrades reports whether the header of a request asks for another protocol on its
// connection (RFC 9110, section 7.8).
func upgrades(h http.Header) bool {
	if h["Upgrade"] == nil {
		return false
	}
	for _, value := range h["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(token, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}

// A liftable is a context with a deadline that can be lifted: that of a request for an
// upgrade, until its connection is hijacked. What waits for its Done before goes on.
type liftable struct {
	context.Context
	done chan struct{}

	mu       sync.Mutex
	deadline time.Time // zero: lifted
	timer    *time.Timer
	err      error
}

func newLiftable(parent context.Context, deadline time.Time) (l *liftable, cancel context.CancelFunc) {
	l = &liftable{Context: parent, done: make(chan struct{}), deadline: deadline}
	if limit, limited := parent.Deadline(); limited && limit.Before(l.deadline) {
		l.deadline = limit
	}
	l.mu.Lock() // it may be over at once
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(time.Until(deadline), func() { l.end(context.DeadlineExceeded) })
	unhook := context.AfterFunc(parent, func() { l.end(parent.Err()) })
	return l, func() {
		unhook()
		l.end(context.Canceled)
	}
}

// lift takes the deadline off, unless it has passed.
func (l *liftable) lift() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.timer.Stop()
		l.deadline = time.Time{}
	}
}

func (l *liftable) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || err == context.DeadlineExceeded && l.deadline.IsZero() { //nolint:errorlint // As the timer gave it.
		return
	}
	l.err = err
	l.timer.Stop()
	close(l.done)
}

// Deadline implements [context.Context].
func (l *liftable) Deadline() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadline.IsZero() {
		return l.Context.Deadline()
	}
	return l.deadline, true
}

// Done implements [context.Context].
func (l *liftable) Done() <-chan struct{} { return l.done }

// Err implements [context.Context].
func (l *liftable) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// String names the context as those of the context package do.
func (l *liftable) String() string { return "stabilityhttp.upgrade" }

// An upgradeWriter is the ResponseWriter of a request that asks for an upgrade. It can do
// what the server's can, and lifts the deadline as the connection is hijacked.
type upgradeWriter struct {
	http.ResponseWriter
	hijacked func()
}

// Hijack implements [http.Hijacker].
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked()
	}
	return conn, buf, err
}

// Unwrap lets an [http.ResponseController] find the server's own.
func (w *upgradeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements [http.Flusher].
func (w *upgradeWriter) Flush() { _ = w.FlushError() }

// FlushError is what an [http.ResponseController] calls.
func (w *upgradeWriter) FlushError() error {
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// ReadFrom implements [io.ReaderFrom].
func (w *upgradeWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }

// WriteString implements [io.StringWriter].
func (w *upgradeWriter) WriteString(s string) (int, error) {
	return io.WriteString(w.ResponseWriter, s)
}
