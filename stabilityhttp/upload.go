package stabilityhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
)

// smallUpload is how much of a request's body goes into the buffers of a connection at
// once, so that nobody waits for a server to take it.
const smallUpload = 64 << 10

// takeUpload makes the request's body that of out, as it is or as an upload. net/http
// knows bodies in memory and files by their types: it sends the one together with the
// header, and the other without a copy. An upload hides that. It is for bodies that may
// stall or fail, and for long ones, in which the attempt waits for the server as long as
// they do not move on.
//
// A body that is not as long as ContentLength says is an error before anything is sent,
// where that can be known.
func (a *attempt) takeUpload(out *http.Request, body io.ReadCloser) error {
	req := a.x.req
	plain := bare(body)
	left, known := unread(plain)
	if length := req.ContentLength; known && length > 0 && left != length {
		a.uploadFailed.Store(true)
		return fmt.Errorf("http: ContentLength=%d with Body length %d", length, left)
	}
	out.Body = body
	switch file, isFile := plain.(*os.File); {
	case isFile && known && runtime.GOOS == "linux": // where a file that is sent moves on as one that is read
		a.plainFile = true
		a.clock.watch(file)
		return nil
	case known && left <= smallUpload:
		return nil
	}
	a.upload.ReadCloser, a.upload.a = body, a
	out.Body = &a.upload
	if getBody := req.GetBody; getBody != nil { // net/http asks it where a connection turns out dead
		out.GetBody = func() (io.ReadCloser, error) {
			again, err := getBody()
			if err != nil {
				return nil, err
			}
			return &upload{ReadCloser: again, a: a}, nil
		}
	}
	return nil
}

// isFileError reports whether err is of reading the file that is a request's body, or says
// that it became shorter or longer meanwhile.
func isFileError(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) || strings.Contains(err.Error(), "http: ContentLength=")
}

// bare returns the reader of a body of [io.NopCloser], as net/http does, and else the
// body itself.
func bare(body io.Reader) io.Reader {
	switch reflect.TypeOf(body) {
	case nopCloser, nopCloserWriterTo:
		if r, ok := reflect.ValueOf(body).Field(0).Interface().(io.Reader); ok {
			return r
		}
	}
	return body
}

var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// unread returns how much of a body is left to be read, where it can neither stall nor
// be of another length.
func unread(body io.Reader) (int64, bool) {
	switch body := body.(type) {
	case *bytes.Reader:
		return int64(body.Len()), true
	case *bytes.Buffer:
		return int64(body.Len()), true
	case *strings.Reader:
		return int64(body.Len()), true
	case *os.File:
		info, err := body.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return 0, false
		}
		at, err := body.Seek(0, io.SeekCurrent)
		return info.Size() - at, err == nil
	}
	return 0, false
}

// An upload is a request body. While it is read, the attempt waits for the caller
// and not for the server.
type upload struct {
	io.ReadCloser
	a      *attempt
	n      int64 // bytes read
	closed atomic.Bool
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	if err := u.a.clock.rest(u); err != nil {
		return 0, err
	}
	n, err := u.ReadCloser.Read(p)
	u.a.clock.resume(u)
	u.n += int64(n)
	switch length := u.a.x.req.ContentLength; {
	case err != nil && err != io.EOF: //nolint:errorlint // As of io.Reader.
		if !u.closed.Load() {
			u.a.uploadFailed.Store(true) // by itself, and not because it was closed
		}
	case length > 0 && (u.n > length || err != nil && u.n < length):
		u.a.uploadFailed.Store(true) // it is not as long as it was said to be
	}
	return n, err
}

// Close implements [io.Closer]. The clock and net/http may both call it.
func (u *upload) Close() error {
	if u.closed.Swap(true) {
		return nil
	}
	return u.ReadCloser.Close()
}
