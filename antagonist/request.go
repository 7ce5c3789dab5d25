package antagonist

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
)

// A Request is one arrival of the load.
type Request struct {
	// Class is the name of the class that it belongs to.
	Class string
	// Index counts the requests of the class from 0.
	Index int

	id       uint64
	seed     uint64
	start    int64
	deadline int64 // when patience ends; 0: never
	rand     *rand.Rand
	calls    atomic.Uint64
}

// Rand returns the request's own source of randomness, which yields the same
// numbers in every variant. It is not safe for use by several goroutines.
func (r *Request) Rand() *rand.Rand {
	if r.rand == nil {
		h := mix(r.seed, streamRequest, r.id)
		r.rand = rand.New(rand.NewPCG(h, mix(h)))
	}
	return r.rand
}

// requestContext carries the request to [World.Call].
type requestContext struct {
	context.Context
	request *Request
}

type requestKeyType struct{}

var requestKey requestKeyType

func (c *requestContext) Value(key any) any {
	if key == requestKey {
		return c.request
	}
	return c.Context.Value(key)
}

func requestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey).(*Request)
	return r
}
