package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A server is an HTTP server that listens.
type server struct {
	url  string
	http *http.Server
	done chan struct{} // closed when Serve has returned
}

// serve serves h at addr, such as "127.0.0.1:0" for a free port of loopback.
func serve(addr string, h http.Handler) (*server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "localhost"
	}
	s := &server{
		url:  "http://" + net.JoinHostPort(host, port),
		http: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("storefront: serving %s: %v", s.url, err))
		}
	}()
	return s, nil
}

// close stops listening and waits for the handlers, for some seconds at most.
// A nil server is closed already.
func (s *server) close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.done
}
