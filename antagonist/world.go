package antagonist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// A World is what the code under test finds around it during a run: servers to
// call, a network, a source of randomness. It lives inside a [testing/synctest]
// bubble, where time stands still until every goroutine waits.
//
// All methods may be called by any number of goroutines at the same time.
type World struct {
	scenario Scenario
	start    time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	stations map[string]*station
	running  sync.WaitGroup // goroutines of requests and of servers
	net      *network
	rand     *rand.Rand

	mu       sync.Mutex
	inbox    []message
	over     bool
	misuse   error
	cleanups []func()
	after    atomic.Int64  // calls after the end
	strays   atomic.Uint64 // calls of no request in particular
	wake     chan struct{}

	// What follows belongs to the driver.
	now      int64
	events   events
	instants instants
	dice     *dice
	batch    []message
	log      *requestLog
	arriving int // classes that still do
	closing  bool
	expired  bool
}

// refusalTime is how long a caller waits for a refusal: about what a round trip
// within a data centre takes.
const refusalTime = 100 * time.Microsecond

// A message tells the driver what a goroutine of the code under test did.
type message struct {
	kind    kind
	call    *call    // nil for finished
	request *Request // nil for what belongs to none
	err     error
}

type kind uint8

const (
	left    kind = iota // a caller did not wait for its answer
	handled             // the code of a server is done
	dialed
	called
	finished // a request is
)

// compare puts the messages of an instant into an order that does not depend on
// the scheduler: by request, then by kind, then by call.
func (m message) compare(o message) int {
	return cmp.Or(
		cmp.Compare(m.group(), o.group()),
		cmp.Compare(m.kind, o.kind),
		cmp.Compare(m.number(), o.number()),
	)
}

func (m message) group() uint64 {
	if m.request == nil {
		return math.MaxUint64
	}
	return m.request.id
}

func (m message) number() uint64 {
	if m.call == nil {
		return 0
	}
	return m.call.number
}

func newWorld(s Scenario, out io.Writer) *World {
	w := &World{
		scenario: s,
		start:    time.Now(),
		stations: make(map[string]*station),
		wake:     make(chan struct{}, 1),
		dice:     newDice(),
	}
	h := mix(s.Seed, streamWorld)
	source := &lockedSource{}
	source.pcg.Seed(h, mix(h))
	w.rand = rand.New(source)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.net = newNetwork(w, out)
	seconds := int((s.For + time.Second - 1) / time.Second)
	w.log = newRequestLog(s, seconds)
	for i, server := range s.Servers {
		w.stations[server.Name] = newStation(w, i, server, seconds)
	}
	for _, server := range s.Servers {
		if server.Handle != nil {
			w.stations[server.Name].handle = server.Handle(w)
		}
	}
	return w
}

// Call makes one call to a modelled server and waits for the answer: nil,
// [ErrRefused], [ErrFailed], [ErrCut], [ErrReset], or what [Server.Handle]
// returned. When ctx ends first it returns ctx.Err(), and the server goes on as
// [Server.Cancels] says. Pass a context derived from that of the request: it
// says whose call it is.
func (w *World) Call(ctx context.Context, server string) error {
	st := w.stations[server]
	if st == nil {
		return w.misused(fmt.Errorf("antagonist: World.Call: there is no server %q; the scenario has %s", server, w.scenario.serverNames()))
	}
	if st.Handler != nil {
		return w.misused(fmt.Errorf("antagonist: World.Call: server %q has a Handler; reach it over World.Transport", server))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := w.submit(ctx, st, false)
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		w.post(message{kind: left, call: c, request: c.request})
		return ctx.Err()
	case <-w.ctx.Done():
		return ErrEnded
	}
}

func (w *World) newCall(ctx context.Context, st *station) *call {
	c := &call{station: st, ctx: ctx, request: requestOf(ctx), done: make(chan struct{})}
	if c.request != nil {
		c.number = c.request.calls.Add(1)
		c.id = [2]uint64{c.request.id, c.number}
	} else {
		c.number = w.strays.Add(1) // its id follows when it arrives
	}
	return c
}

// submit sends a call on its way.
func (w *World) submit(ctx context.Context, st *station, posts bool) *call {
	c := w.newCall(ctx, st)
	c.posts = posts
	if !w.post(message{kind: called, call: c, request: c.request}) {
		// Code that goes on calling, heedless of its context, would do so for
		// ever, since refusals take no time now.
		if w.after.Add(1) > 100_000 {
			panic("antagonist: the code under test keeps calling after the run has ended; it must stop when its context does")
		}
		c.reply(ErrEnded)
	}
	return c
}

// post hands a message to the driver. It reports false when the run is over.
func (w *World) post(m message) bool {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return false
	}
	w.inbox = append(w.inbox, m)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

func (w *World) misused(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.misuse == nil {
		w.misuse = err
	}
	return err
}

// Context returns a context that ends with the run, for goroutines that the
// code under test keeps in the background. They must end with it: a goroutine
// that is left blocked fails the test.
func (w *World) Context() context.Context { return w.ctx }

// Cleanup has f called after the run, in the bubble, the last registered first.
func (w *World) Cleanup(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleanups = append(w.cleanups, f)
}

// Elapsed returns how much of the run has passed, in virtual time.
func (w *World) Elapsed() time.Duration { return time.Since(w.start) }

// Rand returns the run's source of randomness, for jitter and samples that the
// code under test draws. It may be used by several goroutines.
func (w *World) Rand() *rand.Rand { return w.rand }

// Jitter returns any duration from 0 to longest, drawn from [World.Rand]. As a
// method value it is the Jitter of a retry.Config or a breaker.Config of package
// stability, which draws from a source that no seed determines otherwise.
func (w *World) Jitter(longest time.Duration) time.Duration {
	return time.Duration(w.rand.Uint64N(uint64(max(longest, 0)) + 1))
}

// run drives the world from the first arrival until the last request has ended.
//
// It lets one goroutine go on at a time, waits until all are blocked again,
// deals with what they did, and only then lets the next. That, and instants of
// which no two are the same, is what makes the outcome independent of the
// scheduler.
func (w *World) run(client Client) error {
	if late := time.Since(w.start); late > 0 {
		return w.shutDown(w.misused(fmt.Errorf("antagonist: Scenario.Client took %v of virtual time before the run began", late)))
	}
	w.plan(client)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		synctest.Wait()
		w.now = time.Since(w.start).Nanoseconds()
		w.read()
		w.log.goroutines(w.now)
		if w.ended() {
			break
		}
		at, _ := w.events.first() // there is always one: the end of the run
		if at <= w.now {
			w.events.remove().do()
			continue
		}
		timer.Reset(time.Duration(at - w.now))
		select {
		case <-timer.C:
		case <-w.wake:
		}
	}
	return w.shutDown(w.misuse)
}

func (w *World) shutDown(err error) error {
	w.close()
	return err
}

// plan puts the timeline into the events.
func (w *World) plan(client Client) {
	s := w.scenario
	for i := range int((s.For + time.Second - 1) / time.Second) {
		w.events.add(int64(i)*int64(time.Second), func() { w.tick() })
	}
	for i, f := range s.Faults {
		st, f := w.stations[f.Server], activeFault{f, uint64(i)}
		w.events.add(f.From.Nanoseconds(), func() { st.strike(f) })
		w.events.add(f.To.Nanoseconds(), func() { st.lift(f) })
	}
	for i, c := range s.Load {
		random := newDice().of(s.Seed, streamArrivals, uint64(i))
		w.arriving++
		w.expect(client, c, i, newArrivals(c, s.For, random), 0)
	}
	w.events.add(s.For.Nanoseconds(), func() { w.closing = true })
	w.events.add((s.For + s.Drain).Nanoseconds(), func() { w.expired = true })
}

// tick starts a second: what was true at its end is true at its start.
func (w *World) tick() {
	w.log.tick(w.now)
	for _, server := range w.scenario.Servers {
		st := w.stations[server.Name]
		st.log.inService(w.now, len(st.serving))
		st.log.waiting(w.now, st.queue.waiting)
	}
}

// expect schedules the next arrival of a class.
func (w *World) expect(client Client, c Class, class int, from *arrivals, index int) {
	at, ok := from.next()
	if !ok {
		w.arriving--
		return
	}
	w.events.add(w.instants.take(max(at.Nanoseconds(), w.now+1)), func() {
		w.arrive(client, c, class, index)
		w.expect(client, c, class, from, index+1)
	})
}

func (w *World) arrive(client Client, c Class, class, index int) {
	r := &Request{Class: c.Name, Index: index, id: uint64(class)<<40 | uint64(index), seed: w.scenario.Seed, start: w.now}
	if c.Patience > 0 {
		// A shade earlier, lest it coincide with the last of several timeouts
		// in a row, which the client would find passed or not as chance has it.
		r.deadline = w.instants.takeBefore(w.now + c.Patience.Nanoseconds())
	}
	w.log.begin(r)
	w.running.Go(func() {
		growStack()
		var ctx context.Context = &requestContext{w.ctx, r}
		if r.deadline != 0 && !c.Stays {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, w.start.Add(time.Duration(r.deadline)))
			defer cancel()
		}
		ended := false
		defer func() {
			if !ended { // runtime.Goexit, or a panic that is about to end the test
				w.post(message{kind: finished, request: r, err: errGone})
			}
		}()
		err := client(ctx, r)
		ended = true
		w.post(message{kind: finished, request: r, err: err})
	})
}

// growStack makes the stack of a goroutine that has just started as large as most
// code under test needs. A stack grows by being copied with all that is on it, which
// is next to nothing now, and several frames of net/http later: a tenth of what a run
// took (BenchmarkMinute, BenchmarkMinuteOverHTTP).
//
//go:noinline
func growStack() {
	var room [4 << 10]byte
	runtime.KeepAlive(&room)
}

var errGone = errors.New("antagonist: the client ended its goroutine")

// read deals with everything that was posted.
func (w *World) read() {
	w.mu.Lock()
	w.batch, w.inbox = w.inbox, w.batch[:0]
	w.mu.Unlock()
	select {
	case <-w.wake:
	default:
	}
	if len(w.batch) > 1 {
		slices.SortFunc(w.batch, message.compare)
	}
	for i := range w.batch {
		switch m := w.batch[i]; m.kind {
		case dialed:
			m.call.station.dial(m.call)
		case called:
			m.call.station.arrive(m.call)
		case left:
			m.call.station.leave(m.call)
		case handled:
			m.call.station.handled(m.call, m.err)
		case finished:
			w.log.end(m.request, m.err, w.now)
		}
	}
	clear(w.batch)
}

// answer lets the caller go on at the given instant or the first free one after
// it.
func (w *World) answer(c *call, err error, at int64) {
	w.events.add(w.instants.take(max(at, w.now+1)), func() { c.reply(err) })
}

func (w *World) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.misuse != nil || w.expired || w.closing && w.arriving == 0 && w.log.inFlight == 0
}

// close ends what is left of the run, and waits until the code under test has
// heard of it.
func (w *World) close() {
	w.log.close(w.now)
	w.mu.Lock()
	w.over = true
	cleanups := w.cleanups
	w.mu.Unlock()
	w.cancel()
	w.running.Wait() // some may sleep, heedless of their context
	for _, f := range slices.Backward(cleanups) {
		f()
	}
	w.net.close()
	synctest.Wait()
	w.net.serving.Wait() // handlers may sleep, too
	synctest.Wait()
}
