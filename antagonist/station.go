package antagonist

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A call is one attempt to get something from a station.
type call struct {
	station *station
	ctx     context.Context // the caller's
	request *Request        // nil: made by no request in particular
	number  uint64          // among those of its request
	id      [2]uint64       // what it draws its randomness by
	posts   bool            // its code runs elsewhere, and posts when it is done

	state    state
	gone     bool // the caller has left
	shut     bool // it was refused at the door
	hit      bool // its key is cached
	slow     float64
	key      int
	came     int64
	mayWait  int64
	deadline int64 // 0: none
	runsFrom int64 // when its service goes on: its start, or the end of a hang
	endAt    int64 // of the service
	slot     int   // index into station.serving

	stop context.CancelFunc // ends its code, when the server dies under it

	done chan struct{} // closed when err is the answer
	err  error
}

// reply lets the caller go on.
func (c *call) reply(err error) {
	c.err = err
	close(c.done)
}

type state uint8

const (
	arriving state = iota
	waiting
	inService
	handling // its code runs, and the worker is held
	ended
)

// A station is a server during a run. Everything here happens on the driver's
// goroutine.
type station struct {
	Server
	*World
	number  uint64
	handle  Client
	queue   queue
	serving []*call // those that hold a worker
	faults  []activeFault
	down    int // restarts in progress
	calls   uint64
	zipf    *rand.Zipf
	warm    []bool // by key
	log     *serverLog
}

type activeFault struct {
	Fault
	number uint64
}

func newStation(w *World, number int, s Server, seconds int) *station {
	st := &station{Server: s, World: w, number: uint64(number), log: newServerLog(seconds)}
	st.queue.Queue = s.Queue
	st.warm = make([]bool, s.Cache.Keys)
	for key := range st.warm {
		st.warm[key] = !s.Cache.Cold
	}
	if s.Cache.Skew > 1 {
		st.zipf = rand.NewZipf(w.dice.rand, s.Cache.Skew, 1, uint64(s.Cache.Keys-1))
	}
	return st
}

// workers is how many calls may be in service now.
func (st *station) workers() int {
	if st.Workers == 0 {
		return math.MaxInt
	}
	share := 1.0
	for _, f := range st.faults {
		share *= 1 - f.LoseWorkers
	}
	return int(math.Round(share * float64(st.Workers)))
}

// struckBy reports whether a fault that strikes a share of the calls strikes
// this one.
func (st *station) struckBy(f activeFault, c *call) bool {
	return f.Share == 0 || f.Share == 1 ||
		st.dice.of(st.scenario.Seed, streamFault, f.number, c.id[0], c.id[1]).Float64() < f.Share
}

// dial is a connection being made.
func (st *station) dial(c *call) {
	st.identify(c)
	if st.closed(c) {
		st.log.at(st.now).Attempts++
		st.refuse(c)
		return
	}
	st.answer(c, nil, st.now)
}

// identify gives a call that belongs to no request a number of its own.
func (st *station) identify(c *call) {
	st.calls++
	if c.request == nil {
		c.id = [2]uint64{math.MaxUint64, st.calls}
	}
}

// arrive is a call at the door.
func (st *station) arrive(c *call) {
	c.came = st.now
	st.identify(c)
	if at, ok := c.ctx.Deadline(); ok {
		c.deadline = at.Sub(st.start).Nanoseconds()
	}
	st.log.at(st.now).Attempts++
	if c.gone && st.Cancels { // cancelled in the instant in which it was made
		c.state = ended
		return
	}
	if st.closed(c) {
		c.shut = true
		st.refuse(c)
		return
	}
	if len(st.serving) < st.workers() {
		st.begin(c)
		return
	}
	if st.queue.full() {
		st.refuse(c)
		return
	}
	st.queue.push(c, st.now)
	st.log.waiting(st.now, st.queue.waiting)
}

func (st *station) closed(c *call) bool {
	return st.down > 0 || slices.ContainsFunc(st.faults, func(f activeFault) bool {
		return f.Refuse && st.struckBy(f, c)
	})
}

// refuse turns a call away. The caller hears of it after the short time that a
// round trip takes.
func (st *station) refuse(c *call) {
	c.state = ended
	st.log.at(st.now).Refused++
	st.answer(c, ErrRefused, st.now+refusalTime.Nanoseconds())
}

// begin gives a call a worker.
func (st *station) begin(c *call) {
	c.state = inService
	c.slot = len(st.serving)
	st.serving = append(st.serving, c)
	st.log.inService(st.now, len(st.serving))
	st.serve(c, max(st.now, st.hangsUntil(c)), max(st.serviceTime(c), 1))
}

// serve puts the end of a call's service that long after the instant from which
// it runs.
func (st *station) serve(c *call, from, left int64) {
	c.runsFrom = from
	c.endAt = st.instants.take(from + left)
	at := c.endAt
	st.events.add(at, func() {
		if c.state == inService && c.endAt == at { // else it was put off, or the server restarted
			st.served(c)
		}
	})
}

// hangsUntil is when the last fault ends that hangs the call; 0: none does.
func (st *station) hangsUntil(c *call) int64 {
	until := int64(0)
	for _, f := range st.faults {
		if f.Hang && st.struckBy(f, c) {
			until = max(until, f.To.Nanoseconds())
		}
	}
	return until
}

// serviceTime draws how long a call takes that starts now, in nanoseconds.
func (st *station) serviceTime(c *call) int64 {
	service := st.Service
	if st.Cache.Keys > 0 {
		// Every attempt of a request asks for the same thing.
		roll := st.dice.of(st.scenario.Seed, streamKey, st.number, c.id[0])
		if c.request == nil {
			roll = st.dice.of(st.scenario.Seed, streamKey, st.number, c.id[0], c.id[1])
		}
		if st.zipf != nil {
			c.key = int(st.zipf.Uint64())
		} else {
			c.key = roll.IntN(st.Cache.Keys)
		}
		if c.hit = st.warm[c.key]; c.hit {
			service = st.Cache.Hit
		}
	}
	t := float64(service.sample(st.dice.of(st.scenario.Seed, streamService, st.number, c.id[0], c.id[1])))
	c.slow = 1
	for _, f := range st.faults {
		if f.Slow > 0 && st.struckBy(f, c) {
			c.slow *= f.Slow
		}
	}
	t *= c.slow
	if st.Slowdown != nil {
		slower := st.Slowdown(len(st.serving))
		if math.IsNaN(slower) {
			panic(fmt.Sprintf("antagonist: Slowdown of %q is NaN for %d calls", st.Name, len(st.serving)))
		}
		t *= max(slower, 0)
	}
	return toDuration(t).Nanoseconds()
}

// served is the end of a call's service time.
func (st *station) served(c *call) {
	var err error
	for _, f := range st.faults {
		switch {
		case f.Fail && st.struckBy(f, c):
			err = ErrFailed
		case f.Cut && err == nil && st.struckBy(f, c):
			err = ErrCut
		}
	}
	switch {
	case c.posts:
		// Its handler answers even where the answer is an error, and holds the
		// worker until it has.
		c.state = handling
		c.reply(err)
	case st.handle != nil && err == nil && !c.hit:
		c.state = handling
		ctx, cancel := context.WithCancel(st.handleContext(c))
		c.stop = cancel
		request := c.request
		if request == nil {
			request = &Request{id: mix(streamDial, st.number, c.id[1]) | 1<<63, seed: st.scenario.Seed}
			ctx = &requestContext{ctx, request}
		}
		st.running.Go(func() {
			growStack()
			defer cancel()
			err := st.handle(ctx, request)
			st.post(message{kind: handled, call: c, request: c.request, err: err})
		})
	default:
		st.end(c, err)
		c.reply(err)
	}
}

// handled is the end of the code that ran for a call.
func (st *station) handled(c *call, err error) {
	if c.state == ended { // the server restarted under it
		return
	}
	if until := st.hangsUntil(c); until > st.now && !c.posts {
		st.events.add(st.instants.take(until), func() { st.handled(c, err) })
		return
	}
	st.end(c, err)
	if !c.posts {
		st.answer(c, err, st.now)
	}
}

// end frees the worker of a call, which takes the next.
func (st *station) end(c *call, err error) {
	st.leaveService(c)
	second := st.log.at(st.now)
	if err != nil {
		second.Failed++
	} else {
		second.Answered++
		if st.Cache.Keys > 0 {
			st.warm[c.key] = true
		}
	}
	if c.gone {
		second.Wasted++
	}
	st.fill()
}

func (st *station) leaveService(c *call) {
	c.state = ended
	last := len(st.serving) - 1
	moved := st.serving[last]
	st.serving[c.slot], moved.slot = moved, c.slot
	st.serving[last] = nil
	st.serving = st.serving[:last]
}

// fill gives free workers to those who wait.
func (st *station) fill() {
	for len(st.serving) < st.workers() {
		c := st.queue.pop(st.now)
		if c == nil {
			return
		}
		if st.queue.expired(c, st.now) {
			st.refuse(c)
			continue
		}
		st.begin(c)
	}
}

// leave is a caller that goes away before its answer.
func (st *station) leave(c *call) {
	c.gone = true
	if !st.Cancels {
		return
	}
	switch c.state {
	case waiting:
		c.state = ended
		st.queue.leave(st.now)
	case inService:
		st.leaveService(c)
		st.fill()
	}
}

// strike is the start of a fault.
func (st *station) strike(f activeFault) {
	st.faults = append(st.faults, f)
	if f.Hang {
		for _, c := range st.serving {
			if c.state == inService && st.struckBy(f, c) {
				left := c.endAt - max(st.now, c.runsFrom)
				st.serve(c, max(f.To.Nanoseconds(), c.runsFrom), max(left, 1))
			}
		}
	}
	if f.Restart {
		st.kill()
	}
	st.net.keepAlive(st.Name, !st.shut())
}

// lift is the end of a fault.
func (st *station) lift(f activeFault) {
	st.faults = slices.DeleteFunc(st.faults, func(o activeFault) bool { return o.number == f.number })
	if f.Restart {
		st.down--
	}
	st.net.keepAlive(st.Name, !st.shut())
	st.fill()
}

// shut reports whether nobody is let in.
func (st *station) shut() bool {
	return st.down > 0 || slices.ContainsFunc(st.faults, func(f activeFault) bool {
		return f.Refuse && (f.Share == 0 || f.Share == 1)
	})
}

// kill ends everything that is in the server, and empties its cache.
func (st *station) kill() {
	st.down++
	clear(st.warm)
	var lost []*call
	for c := st.queue.pop(st.now); c != nil; c = st.queue.pop(st.now) {
		lost = append(lost, c)
	}
	lost = append(lost, st.serving...)
	clear(st.serving)
	st.serving = st.serving[:0]
	for _, c := range lost {
		answered := c.state == handling && c.posts
		c.state = ended
		st.log.at(st.now).Failed++
		if c.gone {
			st.log.at(st.now).Wasted++
		}
		if c.stop != nil {
			st.events.add(st.instants.take(st.now+1), c.stop)
		}
		if !answered {
			st.answer(c, ErrReset, st.now)
		}
	}
	for _, c := range st.net.open(st.Name) {
		st.events.add(st.instants.take(st.now+1), c.reset) // one after another, as with everything that wakes a caller
	}
}

// handleContext is the context of the server's own code: the caller's where a
// caller's leaving ends the work, else only the values of the caller's.
func (st *station) handleContext(c *call) context.Context {
	if st.Cancels {
		return c.ctx
	}
	return detached{st.ctx, context.WithoutCancel(c.ctx)}
}

// detached lives as long as its Context, and knows the values of both.
type detached struct {
	context.Context
	values context.Context
}

func (d detached) Value(key any) any {
	if v := d.values.Value(key); v != nil {
		return v
	}
	return d.Context.Value(key)
}
