package stabilityhttp

import (
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// Gates are the gates of a host. Those that are left out are nil, which has the
// figures of a gate that nobody ever passed.
type Gates struct {
	// RateLimit is of TransportConfig.RateLimit.
	RateLimit *ratelimit.Limiter
	// Bulkhead is of TransportConfig.Bulkhead.
	Bulkhead *bulkhead.Bulkhead
	// Upgrades is of TransportConfig.Upgrades; nil before there was any upgrade.
	Upgrades *bulkhead.Bulkhead
	// Breaker is of TransportConfig.Breaker.
	Breaker *breaker.Breaker
}

// Gates returns the gates of a key, as TransportConfig.Key returns it; by default
// "example.com:443". They are to be looked at, or a breaker to be forced; not to be
// kept, because what nobody uses is forgotten. It makes none: they are nil where no request
// with that key has come to them yet, where they are forgotten, and where the key is past
// the bound of TransportConfig.Keys and shares its gates with others. What is done to a nil
// gate has no effect.
func (t *Transport) Gates(key string) (g Gates) {
	if t == nil {
		return g
	}
	g.RateLimit, _ = t.limiters.Lookup(key)
	g.Bulkhead, _ = t.bulkheads.Lookup(key)
	g.Upgrades, _ = t.upgrades.value.Load().Lookup(key)
	g.Breaker, _ = t.breakers.Lookup(key)
	return g
}

// TransportStats is what a [Transport] is doing and has done, over all hosts.
type TransportStats struct {
	// Retry counts requests, however many attempts each took. A response that is
	// not to be retried is a success for it, whatever its status. Its Budget is the
	// sum over all hosts.
	Retry retry.Stats
	// Hedge counts the attempts that could have been hedged. Its Delay is the longest
	// of all hosts.
	Hedge hedge.Stats
	// Attempts counts what was sent, as TransportConfig.Classify judges it, and of
	// that what a time limit ended; After is the stall timeout.
	Attempts timeout.Stats
	// RateLimit is the sum over all hosts.
	RateLimit ratelimit.Stats
	// Bulkhead is the sum over all hosts.
	Bulkhead bulkhead.Stats
	// Upgrades is the same for the bulkheads of upgraded connections.
	Upgrades bulkhead.Stats
	// Breaker is the sum over all hosts, and how many hosts are in each state.
	Breaker breaker.GroupStats
}

// Stats returns a reading of the moment. The parts that are left out read zero.
func (t *Transport) Stats() TransportStats {
	if t == nil {
		return TransportStats{}
	}
	return TransportStats{
		Retry:     t.retry.Stats(),
		Hedge:     t.hedge.Stats(),
		Attempts:  t.limits.stats(),
		RateLimit: t.limiters.Stats(),
		Bulkhead:  t.bulkheads.Stats(),
		Upgrades:  t.upgrades.value.Load().Stats(),
		Breaker:   t.breakers.Stats(),
	}
}
