package stabilityhttp

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// passOn returns the longest time to come back that a request waits for which is made
// while a server answers another one. Who is asked for more says so to its own client,
// which knows what to do with the time: a server that waited would hold its client's
// connections and probes for as long, and seem to hang because the next server sheds.
func (c TransportConfig) passOn() time.Duration {
	return cmp.Or(c.Retry.MaxPushback, 2*time.Second)
}

// isServing reports whether a request made in ctx is made for one that a server of
// net/http is answering.
func isServing(ctx context.Context) bool { return ctx.Value(http.ServerContextKey) != nil }
