package antagonist

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func bubble(t *testing.T, f func(t *testing.T, a, b *conn)) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe(addr("a"), addr("b"))
		defer func() { _, _ = a.Close(), b.Close() }()
		f(t, a, b)
	})
}

func TestPipe(t *testing.T) {
	t.Run("carries everything in order", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, b *conn) {
			sent := bytes.Repeat([]byte("0123456789"), 50_000) // several windows
			go func() {
				_, _ = a.Write(sent)
				_ = a.Close()
			}()
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes and %v, want %d", len(got), err, len(sent))
			}
		})
	})
	t.Run("holds what is not yet read", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, b *conn) {
			if n, err := a.Write(make([]byte, window)); n != window || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			_ = a.SetWriteDeadline(time.Now().Add(time.Second))
			start := time.Now()
			n, err := a.Write([]byte("more"))
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("wrote %d, %v after %v", n, err, time.Since(start))
			}
		})
	})
	t.Run("deadlines", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, b *conn) {
			start := time.Now()
			_ = a.SetReadDeadline(start.Add(time.Second))
			_ = a.SetReadDeadline(start.Add(2 * time.Second)) // takes the first's place
			_, err := a.Read(make([]byte, 1))
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 2*time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
			_ = a.SetDeadline(time.Now().Add(-1))
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("past deadline: %v", err)
			}
			_ = a.SetDeadline(time.Time{})
			_, _ = b.Write([]byte("x"))
			if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("without deadline: %d, %v", n, err)
			}
		})
	})
	t.Run("deadline wakes a waiting read", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, _ *conn) {
			done := make(chan error, 1)
			go func() {
				_, err := a.Read(make([]byte, 1))
				done <- err
			}()
			synctest.Wait()
			_ = a.SetReadDeadline(time.Now())
			if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("close", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, b *conn) {
			_, _ = a.Write([]byte("last"))
			_ = a.Close()
			if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("writing to a closed end: %v", err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading after Close: %v", err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("writing after Close: %v", err)
			}
		})
	})
	t.Run("reset", func(t *testing.T) {
		bubble(t, func(t *testing.T, a, b *conn) {
			_, _ = a.Write([]byte("lost"))
			b.reset()
			for _, c := range []*conn{a, b} {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("reading: %v", err)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("writing: %v", err)
				}
			}
		})
	})
}
