package antagonist

import (
	"net/http"
	"time"
)

// A Server is a dependency of the code under test: a model of workers and a
// queue in front of them, reached by [World.Call], or over HTTP by its name
// through [World.Transport].
//
// Give it what production shows: how many calls it works on at once, how long
// one takes when nothing else is going on, and how its queue behaves when there
// is more work than workers.
type Server struct {
	// Name is what calls, faults and requirements refer to, and the host name
	// over HTTP. Required.
	Name string

	// Workers is how many calls are worked on at a time. Default: 0, no bound;
	// then nothing queues.
	Workers int

	// Service is how long a worker takes for one call. Default: no time.
	Service Distribution

	// Slowdown is the factor by which a call takes longer when n calls, itself
	// included, are in service as it starts; see [USL]. Default: none.
	Slowdown func(inService int) float64

	// Queue is where calls wait for a worker. Default: first in, first out,
	// without bound.
	Queue Queue

	// Cache, when it has keys, answers some calls in less time. Default: none.
	Cache Cache

	// Cancels makes the server drop the work of a caller that has gone.
	// Default: false; it works on, and nobody reads the answer, as most servers
	// do whose code does not watch the connection.
	Cancels bool

	// Handle, when given, is the server's own code: after the service time it
	// runs while its worker is held, usually to call further servers through
	// the code under test. What it returns is the server's answer. Its context
	// ends with the caller's if Cancels is set. It is built once for each run,
	// in the bubble. Over HTTP, an error becomes a 502.
	Handle func(*World) Client

	// Handler, when given, answers over HTTP after the service time, while a
	// worker is held. Such a server is reached only through [World.Transport]
	// or [World.Dial]. Default: a short text.
	Handler http.Handler
}

// An Order says which waiting call is served next.
type Order uint8

const (
	// FIFO serves the longest waiting call: fair, and under overload everyone
	// waits as long as the queue is.
	FIFO Order = iota
	// LIFO serves the newest call: under overload some are served in time, and
	// the rest never.
	LIFO
	// AdaptiveLIFO is FIFO until the queue has not been empty for
	// [CoDel.Interval], and LIFO from then on (Maurer, "Fail at Scale", ACM
	// Queue 2015).
	AdaptiveLIFO
)

// String returns "FIFO", "LIFO" or "adaptive LIFO".
func (o Order) String() string {
	switch o {
	case FIFO:
		return "FIFO"
	case LIFO:
		return "LIFO"
	case AdaptiveLIFO:
		return "adaptive LIFO"
	}
	return "unknown order"
}

// A Queue holds the calls that wait for a worker.
type Queue struct {
	// Order is who is served next. Default: FIFO.
	Order Order

	// Max is how many calls may wait; a further one is refused at once.
	// Negative: none waits. Default: 0, no bound.
	Max int

	// DropExpired refuses, instead of serving, a call whose deadline has passed
	// when its turn comes. It needs a deadline in the caller's context, which
	// stands for one that travels with the request.
	DropExpired bool

	// CoDel refuses calls that have waited too long. Default: off.
	CoDel CoDel
}

// CoDel is the controlled delay of Nichols and Jacobson (ACM Queue 2012) in the
// form for servers that Maurer gives in "Fail at Scale" (ACM Queue 2015): a
// call may wait for Interval, but only for Target if the queue has not been
// empty during the last Interval before it came.
type CoDel struct {
	Target   time.Duration // 0: off; 5ms in the article
	Interval time.Duration // 100ms
}

const defaultInterval = 100 * time.Millisecond

func (c CoDel) interval() time.Duration {
	if c.Interval == 0 {
		return defaultInterval
	}
	return c.Interval
}

// A Cache makes a share of a server's calls cheap: each request wants one of
// Keys keys, and a key that was served before is a hit. A restart empties it,
// which is how a server that was large enough comes back too small.
type Cache struct {
	// Keys is how many different things are asked for. Default: 0, no cache.
	Keys int

	// Skew is the exponent of the Zipf distribution by which keys are asked
	// for; above 1. Default: 0, all keys alike.
	Skew float64

	// Hit is how long a call takes whose key is cached; Handle is not run for
	// it. Default: no time.
	Hit Distribution

	// Cold starts the run with an empty cache. Default: false, all keys are
	// cached.
	Cold bool
}
