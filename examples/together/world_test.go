package together

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/antagonist"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

const sec = time.Second

// A kind is what one request is like.
type kind string

const (
	short   kind = "short answers"
	body    kind = "bodies of 10 s"
	stream  kind = "endless streams"
	upload  kind = "uploads"
	upgrade kind = "upgrades"
)

// A work is how long a request of a kind holds its permit: so many pieces.
type work struct {
	piece  time.Duration
	pieces int
}

func (k kind) work() work {
	switch k {
	case body, stream:
		return work{sec, 10} // of a stream in the mean: a client stays for 5 to 15 events
	case upload:
		return work{sec, 5} // four in which the body comes, and one of work
	case upgrade:
		return work{4 * sec, 10} // longer than any time limit of a request
	}
	return work{200 * time.Millisecond, 1}
}

func (w work) hold() time.Duration { return w.piece * time.Duration(w.pieces) }

// A cause is what goes wrong with the last server, or with the load, and ends.
type cause struct {
	from, to int // in seconds of the run; to 0: nothing goes wrong
	away     bool
	load     float64 // times the capacity, in place of the cell's
}

// A cell is one world.
type cell struct {
	family, name string

	seconds  int
	kind     kind
	load     float64 // times the capacity
	clients  int
	tiers    int
	permits  int
	queue    int
	wait     time.Duration // in the queue; 0: as long as the client does
	patience time.Duration // of who calls; 0: as long as the client's 30 s
	work     work
	strag    bool // some requests take much longer
	untimed  bool // no client has a time limit for the whole request
	hedge    *hedge.Config
	cause    cause
	failing  float64 // of the requests get a 500 at once

	rate   float64 // of the server's limit for all clients together; 0: no limit
	bucket int
	bursts int // requests that come at once; 0: each by itself
}

func (c cell) key() string { return c.family + "/" + c.name }

// capacity is how many requests a second the servers can answer.
func (c cell) capacity() float64 {
	if c.rate > 0 {
		return c.rate
	}
	mean := c.work.hold().Seconds()
	if c.strag {
		mean *= 1 + stragglers*(straggle-1)
	}
	return float64(c.permits) / mean
}

// Of the requests of a cell with stragglers, a share takes so many times as long.
const stragglers, straggle = 0.05, 10

func (c cell) tier(i int) string { return "tier" + strconv.Itoa(i) }

// A side is how clients and servers are built: with this library or without.
type side interface {
	// client is what sends the requests.
	client(w *antagonist.World, c cell) *http.Client
	// guard is the last server's limits, in front of its work.
	guard(c cell, work http.Handler) http.Handler
	// hop is a server that only passes on, by the client, to the next.
	hop(c cell, client *http.Client) *httputil.ReverseProxy
}

// scenario is the cell's world for a side. What became of the requests that were not
// good is counted in fate.
func (c cell) scenario(s side, seed uint64, fate *fates) antagonist.Scenario {
	service := antagonist.Fixed(c.work.piece)
	if c.strag {
		service = service.Stragglers(stragglers, straggle)
	}
	scenario := antagonist.Scenario{
		For:     time.Duration(c.seconds) * sec,
		Seed:    seed,
		Load:    antagonist.Load{c.arrivals()},
		Servers: []antagonist.Server{{Name: "work", Service: service}},
		Drain:   75 * sec,
		Refused: refusedHere,
	}
	doors := make([]*door, c.tiers)
	for i := range doors {
		doors[i] = &door{}
		scenario.Servers = append(scenario.Servers, antagonist.Server{Name: c.tier(i + 1), Handler: doors[i]})
	}
	if c.cause.away {
		scenario.Faults = append(scenario.Faults, antagonist.Fault{
			Server: c.tier(c.tiers), Restart: true,
			From: time.Duration(c.cause.from) * sec, To: time.Duration(c.cause.to) * sec,
		})
	}
	scenario.Client = func(w *antagonist.World) antagonist.Client {
		last := doors[c.tiers-1]
		last.build = func() http.Handler { return c.failures(s.guard(c, &worker{c, w})) }
		if c.cause.away { // whoever comes back has forgotten everything
			last.again = time.Duration(c.cause.to) * sec
		}
		last.world = w
		for i, door := range doors[:c.tiers-1] {
			next, client := c.tier(i+2), s.client(w, c)
			door.world = w
			door.build = func() http.Handler {
				proxy := s.hop(c, client)
				proxy.Transport = client.Transport
				proxy.Rewrite = func(r *httputil.ProxyRequest) { r.Out.URL.Host, r.Out.URL.Scheme = next, "http" }
				return proxy
			}
		}
		clients := make([]*http.Client, c.clients)
		for i := range clients {
			clients[i] = s.client(w, c)
		}
		return func(ctx context.Context, r *antagonist.Request) error {
			i := r.Index % len(clients)
			err := c.exchange(ctx, clients[i], r)
			fate.add(err)
			return err
		}
	}
	return scenario
}

// arrivals are the starts of the requests.
func (c cell) arrivals() antagonist.Class {
	rate := c.load * c.capacity()
	class := antagonist.Class{Patience: c.patience}
	switch {
	case c.bursts > 0:
		each := time.Duration(float64(c.bursts) / rate * float64(sec))
		for at := each / 2; at < time.Duration(c.seconds)*sec; at += each {
			for range c.bursts {
				class.At = append(class.At, at)
			}
		}
	case c.cause.load > 0:
		from, to, peak := time.Duration(c.cause.from)*sec, time.Duration(c.cause.to)*sec, c.cause.load*c.capacity()
		class.Rate = antagonist.Spike(rate, peak, from, to)
	case c.rate > 0:
		class.Rate, class.Arrivals = antagonist.Constant(rate), antagonist.Paced
	default:
		class.Rate = antagonist.Constant(rate)
	}
	return class
}

// A door is a server's handler, built anew when its process starts again.
type door struct {
	world *antagonist.World
	build func() http.Handler
	again time.Duration

	mu     sync.Mutex
	inside [2]http.Handler
}

func (d *door) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	life := 0
	if d.again > 0 && d.world.Elapsed() >= d.again {
		life = 1
	}
	d.mu.Lock()
	if d.inside[life] == nil {
		d.inside[life] = d.build()
	}
	inside := d.inside[life]
	d.mu.Unlock()
	inside.ServeHTTP(rw, r)
}

// indexHeader tells the server which request it is, so that the same ones fail on
// both sides.
const indexHeader = "X-Index"

// failures answers a share of the requests with 500, before they take anything.
func (c cell) failures(next http.Handler) http.Handler {
	if c.failing == 0 {
		return next
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		index, _ := strconv.ParseUint(r.Header.Get(indexHeader), 10, 64)
		if rand.New(rand.NewPCG(index, 17)).Float64() < c.failing {
			http.Error(rw, "failed", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// A worker is the last server's own code.
type worker struct {
	cell
	world *antagonist.World
}

func (w *worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(rw)
	switch w.kind {
	case body:
		_ = control.Flush()
		for range w.work.pieces {
			w.do(context.WithoutCancel(r.Context()))
			if _, err := io.WriteString(rw, "piece\n"); err != nil || r.Context().Err() != nil {
				return
			}
			_ = control.Flush()
		}
	case stream:
		_ = control.Flush()
		for r.Context().Err() == nil {
			w.do(r.Context())
			_, _ = io.WriteString(rw, "event\n")
			_ = control.Flush()
		}
	case upload:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.do(context.WithoutCancel(r.Context()))
		_, _ = io.WriteString(rw, "ok\n")
	case upgrade:
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Upgrade", "echo")
		rw.WriteHeader(http.StatusSwitchingProtocols)
		conn, buffered, err := control.Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	default:
		// What a client that left waited for is done to its end, as with most code.
		w.do(context.WithoutCancel(r.Context()))
		_, _ = io.WriteString(rw, "ok\n")
	}
}

// do is one piece of work.
func (w *worker) do(ctx context.Context) { _ = w.world.Call(ctx, "work") }

// exchange makes one request and returns nil if it got all that it came for.
func (c cell) exchange(ctx context.Context, client *http.Client, r *antagonist.Request) error {
	method, content := http.MethodGet, io.Reader(nil)
	if c.kind == upload {
		method, content = http.MethodPost, &slowly{ctx: ctx, pieces: c.work.pieces - 1, each: c.work.piece}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.tier(1)+"/", content)
	if err != nil {
		return err
	}
	req.Header.Set(indexHeader, strconv.Itoa(r.Index))
	if c.kind == upgrade {
		return c.converse(client, req)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, resp.Body)
		return statusError(resp.StatusCode)
	}
	if c.kind == stream {
		events := bufio.NewReader(resp.Body)
		for range 5 + r.Rand().IntN(11) {
			if _, err := events.ReadString('\n'); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// converse upgrades a connection and talks over it. An http.Client would take the
// writer away from the body where it has a Timeout, so it goes to the transport.
func (c cell) converse(client *http.Client, req *http.Request) error {
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.Transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, resp.Body)
		return statusError(resp.StatusCode)
	}
	conn, ok := resp.Body.(io.ReadWriter)
	if !ok {
		return errors.New("the upgraded connection cannot be written to")
	}
	lines := bufio.NewReader(conn)
	for range c.work.pieces {
		time.Sleep(c.work.piece)
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			return err
		}
		if _, err := lines.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// statusError is a response that is not what the client came for.
type statusError int

func (e statusError) Error() string { return strconv.Itoa(int(e)) + " " + http.StatusText(int(e)) }

// slowly is a body that comes piece by piece.
type slowly struct {
	ctx    context.Context
	pieces int
	each   time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.pieces == 0 {
		return 0, io.EOF
	}
	s.pieces--
	timer := time.NewTimer(s.each)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	return copy(p, "piece\n"), nil
}

// ours is this library with its defaults on both sides.
type ours struct{}

func base(w *antagonist.World) *http.Transport {
	t := w.Transport()
	t.MaxIdleConnsPerHost = 100
	return t
}

func (ours) client(w *antagonist.World, c cell) *http.Client {
	cfg := stabilityhttp.TransportConfig{Hedge: c.hedge}
	if c.untimed {
		cfg.Off = stabilityhttp.PartTimeout
	}
	cfg.Retry.Jitter, cfg.Breaker.Jitter = w.Jitter, w.Jitter // so that a seed means what it says
	return &http.Client{Transport: stabilityhttp.NewTransport(base(w), cfg)}
}

func (ours) guard(c cell, work http.Handler) http.Handler {
	var cfg stabilityhttp.HandlerConfig
	if c.rate > 0 {
		cfg.RateLimit = ratelimit.NewGroup(ratelimit.Config{Rate: c.rate}, stability.Keys{})
	}
	if c.permits > 0 {
		cfg.Bulkhead = bulkhead.New(bulkhead.Config{Limit: c.permits, Queue: c.queue, MaxWait: c.wait})
	}
	return stabilityhttp.NewHandler(work, cfg)
}

func (ours) hop(cell, *http.Client) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{ErrorHandler: stabilityhttp.ErrorHandler}
}

// plain is net/http, and what one writes beside it.
type plain struct{}

func (plain) client(w *antagonist.World, c cell) *http.Client {
	client := &http.Client{Transport: base(w)}
	if !c.untimed {
		client.Timeout = 30 * sec
	}
	return client
}

func (plain) guard(c cell, work http.Handler) http.Handler {
	if c.permits > 0 {
		s := &semaphore{cell: c, permits: make(chan struct{}, c.permits), next: work}
		work = s
	}
	if c.rate > 0 {
		work = &bucket{rate: c.rate, size: float64(c.bucket), tokens: float64(c.bucket), at: time.Now(), next: work}
	}
	return work
}

func (plain) hop(cell, *http.Client) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) {
		rw.WriteHeader(http.StatusBadGateway)
	}}
}

// A semaphore is the usual bound on what a handler does at the same time, with a
// queue in front.
type semaphore struct {
	cell
	permits chan struct{}
	waiting atomic.Int64
	next    http.Handler
}

func (s *semaphore) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	select {
	case s.permits <- struct{}{}:
	default:
		if !s.queued(r.Context()) {
			http.Error(rw, "full", http.StatusServiceUnavailable)
			return
		}
	}
	defer func() { <-s.permits }()
	s.next.ServeHTTP(rw, r)
}

func (s *semaphore) queued(ctx context.Context) bool {
	defer s.waiting.Add(-1)
	if int(s.waiting.Add(1)) > s.queue {
		return false
	}
	var passed <-chan time.Time
	if s.wait > 0 {
		timer := time.NewTimer(s.wait)
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case s.permits <- struct{}{}:
		return true
	case <-passed:
	case <-ctx.Done():
	}
	return false
}

// A bucket is the usual rate limit.
type bucket struct {
	rate, size float64
	next       http.Handler

	mu     sync.Mutex
	tokens float64
	at     time.Time
}

func (b *bucket) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !b.take() {
		http.Error(rw, "too many", http.StatusTooManyRequests)
		return
	}
	b.next.ServeHTTP(rw, r)
}

func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.size, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

var digits = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// fates counts what became of the requests.
type fates struct {
	mu sync.Mutex
	n  map[string]int
}

func (f *fates) add(err error) {
	if err == nil {
		return
	}
	what := "failed: " + err.Error()
	var rejected *stability.Rejection
	switch {
	case errors.As(err, &rejected):
		what = fmt.Sprintf("refused: %s: %v", rejected.Policy, rejected.Reason)
	case errors.Is(err, retry.ErrRefused):
		what = "another attempt refused: " + digits.ReplaceAllString(err.Error(), "N")
	default:
		what = digits.ReplaceAllString(what, "N")
	}
	if len(what) > 120 {
		what = what[:120]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = make(map[string]int)
	}
	f.n[what]++
}

// run runs the cell for a side. The same seed is the same arrivals.
func (c cell) run(t *testing.T, s side, seed uint64) (*antagonist.Result, *fates) {
	fate := &fates{}
	return antagonist.Run(t, c.scenario(s, seed, fate)), fate
}

// refusedHere says that the client's own side refused, at once or another attempt.
func refusedHere(err error) bool {
	return errors.Is(err, stability.ErrRejected) || errors.Is(err, retry.ErrRefused)
}
