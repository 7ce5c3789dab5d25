package antagonist

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how much one side may send before the other reads it.
const window = 64 << 10

// newPipe returns the two ends of a connection in memory. Unlike [net.Pipe] it
// holds what was written and not yet read, as a socket does. A goroutine that
// waits on it is durably blocked.
func newPipe(client, server net.Addr) (*conn, *conn) {
	up, down := newStream(), newStream()
	return &conn{in: down, out: up, local: client, remote: server},
		&conn{in: up, out: down, local: server, remote: client}
}

// A conn is one end of a pipe.
type conn struct {
	in, out       *stream
	local, remote net.Addr
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close lets the other end read what was written, and then the end of it; what
// the other end writes fails.
func (c *conn) Close() error {
	c.in.end(net.ErrClosed, syscall.EPIPE)
	c.out.finish(net.ErrClosed)
	return nil
}

// reset breaks the connection; what was not read is lost.
func (c *conn) reset() {
	c.in.end(syscall.ECONNRESET, syscall.ECONNRESET)
	c.out.end(syscall.ECONNRESET, syscall.ECONNRESET)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.limit(&c.in.readBy, t)
	c.out.limit(&c.out.writeBy, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.limit(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.limit(&c.out.writeBy, t)
	return nil
}

// A stream is one direction of a pipe.
type stream struct {
	mu       sync.Mutex
	changed  sync.Cond
	data     bytes.Buffer
	eof      bool  // the writer has finished
	readErr  error // what reads return, once no more is to be read
	writeErr error
	readBy   deadline
	writeBy  deadline
}

type deadline struct {
	timer  *time.Timer
	passed bool
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readErr != nil:
			return 0, s.readErr
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.data.Len() > 0:
			n, _ := s.data.Read(p) // there is something
			s.changed.Broadcast()
			return n, nil
		case s.eof:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for {
		switch free := window - s.data.Len(); {
		case s.writeErr != nil:
			return written, s.writeErr
		case s.writeBy.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		case free > 0:
			n := min(free, len(p)-written)
			s.data.Write(p[written : written+n])
			written += n
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// finish is the writer's close: what is there can still be read.
func (s *stream) finish(writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	s.writeBy.stop()
	s.changed.Broadcast()
}

// end is the end of both reading and writing.
func (s *stream) end(readErr, writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil {
		s.readErr = readErr
	}
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	s.data = bytes.Buffer{}
	s.readBy.stop()
	s.changed.Broadcast()
}

// limit sets a deadline of the stream; the zero time is none.
func (s *stream) limit(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.passed = true
		s.changed.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // else another deadline was set meanwhile
			d.passed = true
			s.changed.Broadcast()
		}
	})
	d.timer = timer
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
