package stabilityhttp

import (
	"context"
	"net/http"
	"sync"

	"github.com/crumplezone/stability/hedge"
)

// race sends the request again beside itself when it is slow, and returns what came
// of the first to succeed. The others' responses are closed.
func (x *exchange) race(ctx context.Context) (*http.Response, error) {
	var mu sync.Mutex
	var all []*http.Response
	var winner *http.Response
	defer func() {
		for _, resp := range all {
			if resp != winner {
				_ = resp.Body.Close()
			}
		}
	}()
	resp, release, err := hedge.Open(ctx, x.t.hedge, func(raced context.Context) (*http.Response, error) {
		resp, err := x.send(raced, ctx)
		if resp == nil {
			return nil, err
		}
		mu.Lock()
		all = append(all, resp)
		mu.Unlock()
		// Its body outlives the race, with which raced ends.
		if lost := !adopt(x, resp) && raced.Err() != nil; lost {
			return nil, context.Cause(raced)
		}
		return resp, err // perhaps with a body whose own time is over, which says so
	})
	release()
	winner = resp
	return resp, err
}

// adopt gives the body of a response another context to end with, and reports
// whether it came before the end of the former one.
func adopt(parent context.Context, resp *http.Response) bool {
	switch b := resp.Body.(type) {
	case *body:
		return b.clock.adopt(parent)
	case *upgraded:
		return b.clock.adopt(parent)
	default:
		return true // there is none
	}
}
