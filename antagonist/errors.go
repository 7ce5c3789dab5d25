package antagonist

import "errors"

// What [World.Call] returns when a modelled server does not answer well. A
// caller whose context ends gets the error of the context instead.
var (
	// ErrRefused: the server took no work from this call: its port was closed,
	// its queue was full, or it dropped the call from the queue.
	ErrRefused = errors.New("antagonist: server refused the call")

	// ErrFailed: the server worked on the call and answered with an error.
	ErrFailed = errors.New("antagonist: server failed")

	// ErrCut: the answer ended half-way.
	ErrCut = errors.New("antagonist: answer cut short")

	// ErrReset: the server died while the call was in it.
	ErrReset = errors.New("antagonist: connection reset, server restarted")

	// ErrEnded: the run is over.
	ErrEnded = errors.New("antagonist: the run has ended")
)
