package antagonist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Transport returns an HTTP transport whose connections lead to the servers of
// the scenario by their names, as in "http://payments/charge", over a network
// in memory. It is an ordinary one otherwise, with net/http's defaults, which
// may be changed before its first use; it is closed at the end of the run.
func (w *World) Transport() *http.Transport {
	t := &http.Transport{DialContext: w.Dial}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	w.net.transports = append(w.net.transports, t)
	return t
}

// Dial connects to the server that address names; a port is ignored. It is the
// DialContext of [World.Transport], for clients that bring a transport or a
// protocol of their own.
func (w *World) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		name = address
	}
	remote := addr(name)
	st := w.stations[name]
	if st == nil {
		return nil, w.misused(fmt.Errorf("antagonist: World.Dial: there is no server %q; the scenario has %s", name, w.scenario.serverNames()))
	}
	c := w.newCall(ctx, st)
	if !w.post(message{kind: dialed, call: c, request: c.request}) {
		return nil, ErrEnded
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: ctx.Err()}
	case <-w.ctx.Done():
		return nil, ErrEnded
	}
	if c.err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return w.net.connect(st)
}

// network is the servers' HTTP side.
type network struct {
	world *World
	out   io.Writer // for what http.Server has to say

	mu         sync.Mutex
	closed     bool
	hosts      map[string]*host
	transports []*http.Transport
	serving    sync.WaitGroup // requests in ServeHTTP
}

// A host is a server's listener with what came through it.
type host struct {
	server  *http.Server
	backlog chan net.Conn
	down    chan struct{}
	once    sync.Once

	mu    sync.Mutex
	conns []*conn // open, oldest first
}

func newNetwork(w *World, out io.Writer) *network {
	return &network{world: w, out: out, hosts: make(map[string]*host)}
}

// connect hands a new connection to the station's HTTP server, which the first
// connection starts.
func (n *network) connect(st *station) (net.Conn, error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrEnded
	}
	h := n.hosts[st.Name]
	if h == nil {
		h = &host{
			backlog: make(chan net.Conn),
			down:    make(chan struct{}),
		}
		h.server = &http.Server{
			Handler:   &front{st},
			ErrorLog:  log.New(n.out, "antagonist: "+st.Name+": ", 0),
			ConnState: h.track,
		}
		n.hosts[st.Name] = h
		go func() { _ = h.server.Serve(listener{h, addr(st.Name)}) }() // it always ends with http.ErrServerClosed
	}
	n.mu.Unlock()

	near, far := newPipe(addr("client"), addr(st.Name))
	select {
	case h.backlog <- far:
		return near, nil
	case <-h.down:
		return nil, net.ErrClosed
	}
}

func (h *host) track(c net.Conn, state http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch state {
	case http.StateNew:
		h.conns = append(h.conns, c.(*conn))
	case http.StateClosed: // a hijacked one is not ours to close, but dies with the process
		h.conns = slices.DeleteFunc(h.conns, func(o *conn) bool { return o == c.(*conn) })
	}
}

func (n *network) host(name string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[name]
}

// open returns the open connections of a server.
func (n *network) open(name string) []*conn {
	h := n.host(name)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.conns)
}

// keepAlive says whether connections of a server outlive a request. When they
// no longer do, idle ones are closed, so that the next request has to connect.
func (n *network) keepAlive(name string, on bool) {
	if h := n.host(name); h != nil {
		h.server.SetKeepAlivesEnabled(on)
	}
}

func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	for _, h := range n.hosts {
		_ = h.server.Close()
	}
	for _, t := range n.transports {
		t.CloseIdleConnections()
	}
}

// A listener is what http.Server sees of a host.
type listener struct {
	*host
	address addr
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.down:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.once.Do(func() { close(l.down) })
	return nil
}

func (l listener) Addr() net.Addr { return l.address }

// An addr is a name in the network.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) + ":80" }

// A front is a station's HTTP handler.
type front struct {
	*station
}

// ServeHTTP takes the request through the model, and then lets the server's own
// code answer it.
func (f *front) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	f.net.serving.Add(1)
	defer f.net.serving.Done()
	c := f.submit(r.Context(), f.station, true)
	if !f.wait(r.Context(), c) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case c.err == nil || errors.Is(c.err, ErrCut) || errors.Is(c.err, ErrFailed):
	case errors.Is(c.err, ErrRefused) && !c.shut:
		http.Error(rw, "queue full", http.StatusServiceUnavailable)
		return
	default:
		panic(http.ErrAbortHandler)
	}
	failed, returned := c.err, false
	defer func() {
		if r.Context().Err() != nil {
			f.post(message{kind: left, call: c})
		}
		if !returned && failed == nil {
			failed = errGone
		}
		f.post(message{kind: handled, call: c, err: failed})
	}()
	if errors.Is(c.err, ErrFailed) {
		http.Error(rw, "failed", http.StatusInternalServerError)
		return
	}
	if errors.Is(c.err, ErrCut) {
		rw = &cutter{rw}
	}
	started := time.Now()
	if err := f.respond(rw, r, c); err != nil {
		failed = err
		http.Error(rw, "a call failed", http.StatusBadGateway)
	}
	returned = true
	if c.slow > 1 {
		f.sleep(time.Duration(float64(time.Since(started)) * (c.slow - 1)))
	}
	if errors.Is(c.err, ErrCut) {
		panic(http.ErrAbortHandler)
	}
}

// wait returns true when the call has its answer, and false when there will be
// none.
func (f *front) wait(ctx context.Context, c *call) bool {
	select {
	case <-c.done:
		return true
	case <-f.ctx.Done():
		return false
	case <-ctx.Done():
		f.post(message{kind: left, call: c})
	}
	if f.Cancels {
		return false
	}
	select {
	case <-c.done:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// respond runs the server's own code.
func (f *front) respond(rw http.ResponseWriter, r *http.Request, c *call) error {
	request := &Request{id: mix(streamDial, f.number, c.id[1]) | 1<<63, seed: f.scenario.Seed}
	ctx := &requestContext{r.Context(), request}
	switch {
	case f.Handler != nil:
		f.Handler.ServeHTTP(rw, r.WithContext(ctx))
		return nil
	case f.handle != nil && !c.hit:
		inner := context.Context(ctx)
		if !f.Cancels {
			inner = detached{f.ctx, context.WithoutCancel(ctx)}
		}
		inner, c.stop = context.WithCancel(inner)
		defer c.stop()
		if err := f.handle(inner, request); err != nil {
			return err
		}
	}
	_, _ = io.WriteString(rw, "ok\n") // a client that has gone does not matter
	return nil
}

func (f *front) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
	}
}

// A cutter sends half of what is first written, and breaks the connection.
type cutter struct {
	http.ResponseWriter
}

// Unwrap and Flush keep what the writer can do.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *cutter) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

func (c *cutter) Write(p []byte) (int, error) {
	_, _ = c.ResponseWriter.Write(p[:len(p)/2])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
