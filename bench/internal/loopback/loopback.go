// Package loopback is the HTTP server of the benchmarks. It runs in a process of its own,
// so that what is measured of a client has nothing of a server's in it: neither its
// instructions nor its allocations.
package loopback

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

const (
	// Hello is the answer to a request for Path "/", after its body was read.
	Hello = "hello"
	// Large is how long the answer to a GET of LargePath is.
	Large = 1 << 20
	// LargePath is where it is.
	LargePath = "/large"

	variable = "STABILITY_BENCH_SERVER"
)

// Handler is what the server does.
func Handler() http.Handler {
	large := make([]byte, Large)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || r.ContentLength >= 0 && n != r.ContentLength {
			http.Error(w, fmt.Sprintf("%d bytes of %d, %v", n, r.ContentLength, err), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, Hello)
	})
	mux.HandleFunc("GET "+LargePath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(Large))
		_, _ = w.Write(large)
	})
	return mux
}

// Serve makes this process the server, and does not return, where URL of another process
// started it as that. It ends with the process that started it. A program that uses URL calls
// it first.
func Serve() {
	if os.Getenv(variable) == "" {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It is over at once.
	if err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
	fmt.Println("http://" + listener.Addr().String())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until nobody is there to write to it
		os.Exit(0)
	}()
	err = http.Serve(listener, Handler()) //nolint:gosec // It serves the one client that started it.
	fmt.Fprintln(os.Stderr, "loopback:", err)
	os.Exit(1)
}

// URL returns where the server is, which it starts if need be: this program once more, that
// calls Serve. It panics where it cannot.
var URL = sync.OnceValue(func() string {
	url, err := start()
	if err != nil {
		panic(fmt.Sprintf("loopback: %v", err))
	}
	return url
})

// server is kept, since what it reads from would be closed with the last reference to it.
var server *exec.Cmd

func start() (url string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	server = exec.Command(self) //nolint:gosec,noctx // It ends when this process does.
	// What is set for a count of instructions is not for the server.
	server.Env = append(os.Environ(), variable+"=1", "GOMAXPROCS=", "GOGC=", "GODEBUG=")
	server.Stderr = os.Stderr
	if _, err := server.StdinPipe(); err != nil { // it is closed with this process
		return "", err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := server.Start(); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	return strings.TrimSpace(line), err
}
