package scene

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server is an HTTP server on a port of loopback that it picked itself.
type Server struct {
	URL  string
	http *http.Server
}

// Close ends the server as a crash would: connections break, new ones are refused.
// What its handlers do goes on.
func (s *Server) Close() { s.http.Close() }

// Serve starts a server. It ends with the run.
func (s *Stage) Serve(h http.Handler) (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &Server{URL: "http://" + ln.Addr().String()}
	srv.http = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.running.begin() {
				defer s.running.done()
				h.ServeHTTP(w, r)
			}
		}),
	}
	s.Go(func() { _ = srv.http.Serve(ln) }) // It returns when the server is closed.
	s.running.onStop(srv.Close)
	return srv, nil
}

// Listen starts a TCP server for which serve handles each connection, of which n
// counts them. The connection is closed when serve returns, and with the run.
func (s *Stage) Listen(serve func(n int, c net.Conn)) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.running.onStop(func() { ln.Close() })
	s.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			closeOnce := sync.OnceFunc(func() { c.Close() })
			unhook := context.AfterFunc(s.ctx, closeOnce)
			s.Go(func() {
				defer closeOnce()
				defer unhook()
				serve(n, c)
			})
		}
	})
	return ln.Addr().String(), nil
}

// Workers is h as a server with n workers runs it: requests wait for a free one,
// for as long as their clients wait.
func Workers(n int, h http.Handler) http.Handler {
	workers := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case workers <- struct{}{}:
			defer func() { <-workers }()
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// Fetch gets what is at url, whole. Any status but 200 is an error.
func Fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return Do(client, req)
}

// Do is Fetch for a request made before.
func Do(client *http.Client, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req) //nolint:gosec // G704: the addresses are those of the scene's own servers.
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	return body, err
}
