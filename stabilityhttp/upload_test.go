package stabilityhttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// openFile returns a file of so many bytes, open to be read.
func openFile(t testing.TB, size int) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(name, make([]byte, size), 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// Every request body was wrapped, so that net/http no longer saw that it is in memory or
// a file: a small POST took two writes, and a file was copied instead of sent.
//
// Contract: 36
func TestWhatCanNeitherStallNorFailIsNotWrapped(t *testing.T) {
	file := openFile(t, 1<<20)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	w.Close()
	stream := io.NopCloser(io.MultiReader(strings.NewReader("a")))
	long := io.NopCloser(bytes.NewReader(make([]byte, 1<<20)))
	for name, c := range map[string]struct {
		body io.ReadCloser
		same bool
	}{
		"bytes.Reader":   {io.NopCloser(bytes.NewReader([]byte("a"))), true},
		"bytes.Buffer":   {io.NopCloser(bytes.NewBufferString("a")), true},
		"strings.Reader": {io.NopCloser(strings.NewReader("a")), true},
		"file":           {file, runtime.GOOS == "linux"},
		"pipe":           {r, false},
		"stream":         {stream, false},
		"long":           {long, false}, // a server that does not take it stalls
	} {
		t.Run(name, func(t *testing.T) {
			seen := false
			rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
				seen = req.Body == c.body
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			}), stabilityhttp.TransportConfig{})
			req := newRequest(t, http.MethodPost, bubbleURL, nil)
			req.Body = c.body
			_, err := rt.RoundTrip(req) //nolint:bodyclose // It is http.NoBody.
			require.NoError(t, err)
			require.Equal(t, c.same, seen)
		})
	}
}

// writes counts those to a connection.
type writes struct {
	net.Conn
	n *atomic.Int64
}

func (w writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// Contract: 36
func TestSmallBodyIsSentWithItsHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := memoryUpstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		dial, n := base.DialContext, new(atomic.Int64)
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return writes{conn, n}, err
		}
		rt := stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{})
		resp, err := rt.RoundTrip(newRequest(t, http.MethodPost, bubbleURL, strings.NewReader("order")))
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "order", string(b))
		require.EqualValues(t, 1, n.Load())
	})
}

// A request whose body is not as long as its ContentLength was sent, and carried out by
// the server 1,979 times of 2,000.
//
// Contract: 36
func TestWrongLengthIsFoundBeforeAnythingIsSent(t *testing.T) {
	for name, open := range map[string]func(*testing.T) io.Reader{
		"in memory": func(*testing.T) io.Reader { return strings.NewReader("order") },
		"long":      func(*testing.T) io.Reader { return bytes.NewReader(make([]byte, 1<<20)) },
		"file":      func(t *testing.T) io.Reader { return openFile(t, 1000) },
	} {
		for _, length := range []int64{3, 1 << 21} {
			t.Run(name, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(roundTripper(func(*http.Request) (*http.Response, error) {
					t.Error("sent")
					return nil, errors.New("sent")
				}), stabilityhttp.TransportConfig{})
				req := newRequest(t, http.MethodPut, bubbleURL, open(t))
				req.ContentLength = length
				_, err := rt.RoundTrip(req) //nolint:bodyclose // There is none.
				require.ErrorContains(t, err, "http: ContentLength=")
				requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
			})
		}
	}
}

// A file goes out as it is, and a server that takes it slowly is no server that stalls.
// One that takes no more of it is.
//
// Contract: 35, 36
func TestUploadOfAFile(t *testing.T) {
	const size = 256 << 10
	for name, c := range map[string]struct {
		reads int // of a second each, before the server reads no more
		took  time.Duration
	}{
		"taken slowly": {size / 4096, 0},
		"stalled":      {20, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			file := openFile(t, size)
			synctest.Test(t, func(t *testing.T) {
				rt := stabilityhttp.NewTransport(memoryUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					for range c.reads {
						time.Sleep(time.Second)
						_, _ = io.ReadFull(r.Body, make([]byte, 4096))
					}
					if c.took > 0 {
						time.Sleep(time.Hour)
						panic(http.ErrAbortHandler)
					}
					_, _ = io.Copy(w, r.Body)
				}), stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, Timeout: 2 * time.Hour, StallTimeout: 10 * time.Second})
				req := newRequest(t, http.MethodPut, bubbleURL, file)
				req.ContentLength = size
				began := time.Now()
				resp, err := rt.RoundTrip(req)
				if c.took == 0 {
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.GreaterOrEqual(t, time.Since(began), time.Minute)
					return
				}
				require.ErrorIs(t, err, timeout.ErrExceeded)
				require.LessOrEqual(t, time.Since(began), c.took+20*time.Second)
				requireCalls(t, rt, bubbleURL, stability.Calls{Failed: 1})
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A file that cannot be read is the caller's failure.
//
// Contract: 35
func TestFileThatCannotBeRead(t *testing.T) {
	file := openFile(t, 1<<20)
	synctest.Test(t, func(t *testing.T) {
		rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
			file.Close()
			_, err := io.Copy(io.Discard, req.Body)
			return nil, err
		}), stabilityhttp.TransportConfig{})
		_, err := rt.RoundTrip(newRequest(t, http.MethodPut, bubbleURL, file)) //nolint:bodyclose // There is none.
		require.ErrorIs(t, err, os.ErrClosed)
		requireCalls(t, rt, bubbleURL, stability.Calls{Ignored: 1})
	})
}
