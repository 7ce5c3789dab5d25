package together

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crumplezone/stability/breaker"
)

// A headline is a meeting of parts that did the most harm, with what it was before
// the parts were made to work together: this same world with the library as it was in
// commit 63ec0c4.
type headline struct {
	cell
	text   string
	before int
	figure func(c cell, scores []score) (is, of int)
}

func answered(_ cell, scores []score) (is, of int) {
	last := scores[len(scores)-1]
	return last.good, int(last.possible)
}

func notRefused(_ cell, scores []score) (is, of int) {
	return scores[0].offered - scores[0].refused, scores[0].offered
}

var headlines = []headline{
	{
		cell: cell{name: "a server of 100 a second, 250 a second come", load: 2.5, permits: 10, queue: 20, wait: sec, work: work{100 * time.Millisecond, 1}, seconds: 60},
		text: `A Handler whose bulkhead can do 100 requests a second, and one client that sends 250 a second for a minute: answered of
			what is possible. The client took the server's "not now" for a failure, and its breaker opened on a server that was fine.`,
		before: 541,
		figure: answered,
	},
	{
		cell: cell{name: "105 at once before a bucket of 100, at half the rate", rate: 1000, bucket: 100, bursts: 105, load: 0.5, seconds: 20, work: work{100 * time.Microsecond, 1}},
		text: `A Handler with a rate of 1000 a second and the default burst, and one client that sends 105 requests at once each 210 ms,
			half of what is allowed: answered of all. The 5 ms until the next token were rounded up to a second, in which the client
			refused everything by itself.`,
		before: 1991,
		figure: answered,
	},
	{
		cell: cell{name: "answers of a minute, after an outage of 10 s", kind: body, work: work{sec, 60}, untimed: true, permits: 200, load: 0.3, cause: cause{from: 30, to: 40, away: true}, seconds: 240},
		text: `A host whose answers last a minute, and that was away for 10 s: answered of those that come later than 10 s after its
			return. The breaker's probe lasted as long as its body, and counted as a failure when its time was over.`,
		before: 2,
		figure: answered,
	},
	{
		cell: cell{name: "30 % quick failures, and answers of 12 s", kind: body, work: work{sec, 12}, permits: 200, load: 0.48, failing: 0.3, seconds: 120},
		text: `A host that answers 30 % of its requests with 500 at once, and the others with bodies of 12 s: not refused by the
			client's own breaker, whose threshold is 50 %. Failures counted when they began, and successes when they ended.`,
		before: 355,
		figure: notRefused,
	},
}

// handshake is the headline of a breaker in the hook of a client that shakes hands on
// each new connection through that same hook, as go-redis does. It has a world of its
// own.
var handshake = headline{
	cell: cell{name: "a breaker in a hook that the client shakes hands through"},
	text: `A client of a database, built as go-redis is, whose server is away for 10 s: commands answered of those that come later than
		10 s after its return. The new connection's handshake runs through the hook of the command that needs it, and found the
		breaker's only probe slot taken by that very command.`,
	before: 0,
	figure: answered,
}

func judgeHandshake(t *testing.T) *verdict {
	t.Helper()
	with, of := commands(t, true)
	without, _ := commands(t, false)
	v := &verdict{cell: handshake.cell, runs: 1}
	v.family = "headline"
	v.ours = []score{{good: with, offered: of, possible: float64(of), ordinary: float64(of)}}
	v.plain = []score{{good: without, offered: of, possible: float64(of), ordinary: float64(of)}}
	return v
}

// commands returns how many commands were answered from ten seconds after an outage
// on, in a minute, with or without a breaker in the client's hook.
func commands(t *testing.T, guarded bool) (answered, of int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Jitter: func(longest time.Duration) time.Duration { return longest / 2 }})
		db := &database{}
		client := &databaseClient{server: db, hook: func(ctx context.Context, next func(context.Context) error) error {
			if !guarded {
				return next(ctx)
			}
			return b.Run(ctx, next)
		}}
		var mu sync.Mutex
		var running sync.WaitGroup
		for began := time.Now(); time.Since(began) < 90*sec; time.Sleep(52 * time.Millisecond) {
			at := time.Since(began)
			db.set(at > 10*sec && at < 20*sec)
			running.Go(func() {
				err := client.Do(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if at < 30*sec {
					return
				}
				of++
				if err == nil {
					answered++
				}
			})
		}
		running.Wait()
	})
	return answered, of
}

// A database is a server that may be down; connections do not survive that.
type database struct {
	mu      sync.Mutex
	down    bool
	started int
}

func (d *database) set(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down && !down {
		d.started++
	}
	d.down = down
}

func (d *database) dial() (*databaseConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, syscall.ECONNREFUSED
	}
	return &databaseConn{d, d.started}, nil
}

type databaseConn struct {
	server *database
	of     int
}

// roundTrip is one command and its answer, in 1 ms.
func (c *databaseConn) roundTrip() error {
	time.Sleep(time.Millisecond)
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.server.down || c.server.started != c.of {
		return io.ErrUnexpectedEOF
	}
	return nil
}

type databaseClient struct {
	server *database
	hook   func(ctx context.Context, next func(context.Context) error) error

	mu   sync.Mutex
	idle []*databaseConn
}

// Do runs a command through the hook.
func (c *databaseClient) Do(ctx context.Context) error {
	return c.hook(ctx, func(ctx context.Context) error {
		conn, err := c.conn(ctx)
		if err != nil {
			return err
		}
		if err := conn.roundTrip(); err != nil {
			return err // and the connection is dropped
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.idle = append(c.idle, conn)
		return nil
	})
}

// conn takes an idle connection or makes one, which shakes hands first: a command
// like others, through the same hook, under the context of the command that needs it.
func (c *databaseClient) conn(ctx context.Context) (*databaseConn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	conn, err := c.server.dial()
	if err != nil {
		return nil, err
	}
	if err := c.hook(ctx, func(context.Context) error { return conn.roundTrip() }); err != nil {
		return nil, errors.Join(errors.New("handshake"), err)
	}
	return conn, nil
}
