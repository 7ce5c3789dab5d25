//go:build !race

// The race detector makes sync.Pool forget, which costs allocations that are not
// there without it.

package stabilityhttp_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// frugal answers every request on a connection and allocates nothing for it.
func frugal(conn net.Conn) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Write(answer); err != nil {
			return
		}
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")); {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
		}
	}
}

// All guards together allocate no more than the one timeout that net/http has.
func TestAllocations(t *testing.T) {
	url := rawUpstream(t, frugal)
	allocs := map[string]float64{}
	for _, c := range benchmarkClients {
		base := http.DefaultTransport.(*http.Transport).Clone()
		client := c.make(base)
		req := newRequest(t, http.MethodGet, url, nil)
		buf := make([]byte, 64)
		allocs[c.name] = testing.AllocsPerRun(200, func() {
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF {
				t.Error(err)
			}
			resp.Body.Close()
		})
		base.CloseIdleConnections()
	}
	require.LessOrEqual(t, allocs["stability"], allocs["timeout"], "%v", allocs)
	require.Less(t, allocs["plain"], allocs["timeout"], "%v", allocs)
}
