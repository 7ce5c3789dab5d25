package bulkhead_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
)

// model is what a bulkhead does, in the plainest words: a list of those inside and a
// list of those who wait.
type model struct {
	limit, queueLimit int
	maxWait           time.Duration
	inside, queue     []*call
	timed             []grants // since the queue was last empty
	untimed           int      // grants after those
	counts            stability.Calls
}

// grants is how many there were up to an instant, since the one before.
type grants struct {
	n  int
	at time.Time
}

// call is one that asked to be let in.
type call struct {
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time // when its wait is over; zero: never
	cause  error     // what of its context is over then; nil: only MaxWait

	answered bool
	pass     *stability.Pass
	err      error
}

// interval is the running mean of the intervals between grants.
func (m *model) interval() (mean time.Duration) {
	for i := 1; i < len(m.timed); i++ {
		interval := m.timed[i].at.Sub(m.timed[i-1].at) / time.Duration(m.timed[i].n)
		if i == 1 {
			mean = interval
		}
		mean += (interval - mean) / 4
	}
	return mean
}

// estimate is the least wait at a place in the queue: half of what the running mean
// says, once it is one of eight.
func (m *model) estimate(place int) time.Duration {
	if len(m.timed) <= 8 {
		return 0
	}
	return time.Duration(float64(m.interval()) / 2 * float64(place))
}

func (m *model) grant() {
	n := max(min(m.limit-len(m.inside), len(m.queue)), 0)
	m.inside = append(m.inside, m.queue[:n]...)
	m.queue = m.queue[n:]
	m.untimed += n
	if n > 0 && (len(m.timed) <= 8 || m.interval() >= 10*time.Microsecond || m.untimed >= 8) {
		m.timed = append(m.timed, grants{m.untimed, time.Now()})
		m.untimed = 0
	}
	if len(m.queue) == 0 {
		m.timed, m.untimed = nil, 0
	}
}

// leave takes out of the queue whose time is over.
func (m *model) leave() (gone []*call) {
	m.queue = slices.DeleteFunc(m.queue, func(c *call) bool {
		over := c.ctx.Err() != nil || !c.until.IsZero() && !time.Now().Before(c.until)
		if over {
			gone = append(gone, c)
			m.counts.Rejected++
		}
		return over
	})
	m.grant()
	return gone
}

func checkModel(rt *rapid.T) {
	cfg := bulkhead.Config{
		Limit: rapid.IntRange(1, 4).Draw(rt, "Limit"),
		Queue: rapid.IntRange(0, 12).Draw(rt, "Queue"),
	}
	if cfg.Queue > 0 {
		cfg.MaxWait = time.Duration(rapid.IntRange(0, 50).Draw(rt, "MaxWait")) * 100 * time.Millisecond
	}
	b := bulkhead.New(cfg)
	m := model{limit: cfg.Limit, queueLimit: cfg.Queue, maxWait: cfg.MaxWait}

	var gone []*call    // from the queue, not yet looked at
	settled := func() { // nobody else is in, nobody else was refused
		synctest.Wait()
		for _, c := range append(gone, m.leave()...) {
			require.True(rt, c.answered, "its wait is over")
			r := requireRefused(rt, c.err)
			for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
				require.Equal(rt, c.cause == cause, errors.Is(r, cause), "%v", r)
			}
			c.cancel()
		}
		gone = nil
		for _, c := range m.inside {
			require.True(rt, c.answered, "first come, first served")
			require.NoError(rt, c.err)
		}
		for _, c := range m.queue {
			require.False(rt, c.answered, "it waits")
		}
		require.Equal(rt, len(m.queue) > 0, b.LooksForWaiters())
		require.Equal(rt, bulkhead.Stats{
			Calls: m.counts, Limit: m.limit, InUse: len(m.inside), Queued: len(m.queue), QueueLimit: m.queueLimit,
		}, b.Stats())
	}
	defer func() { // whatever failed, the bubble is left empty
		for _, c := range slices.Concat(m.inside, m.queue) {
			c.cancel()
		}
		synctest.Wait()
	}()

	errs := []error{nil, errors.New("failed"), &stability.Rejection{}}
	finish := func(i int, err error) {
		c := m.inside[i]
		m.inside = slices.Delete(m.inside, i, i+1)
		switch {
		case err == nil:
			m.counts.Succeeded++
		case errors.Is(c.ctx.Err(), context.Canceled) || stability.Rejected(err):
			m.counts.Ignored++
		default:
			m.counts.Failed++
		}
		require.Equal(rt, err, c.pass.Done(err))
		c.cancel()
		m.grant()
	}

	rt.Repeat(map[string]func(*rapid.T){
		"enter": func(rt *rapid.T) {
			c := &call{}
			c.ctx, c.cancel = context.WithCancel(context.Background())
			patience := m.maxWait
			if rapid.Bool().Draw(rt, "has a deadline") {
				timeout := time.Duration(rapid.IntRange(1, 60).Draw(rt, "timeout"))*100*time.Millisecond + time.Millisecond
				c.ctx, c.cancel = context.WithTimeout(context.Background(), timeout)
				if patience == 0 || timeout < patience {
					patience, c.cause = timeout, context.DeadlineExceeded
				}
			}
			if patience > 0 {
				c.until = time.Now().Add(patience)
			}
			go func() {
				pass, err := b.Enter(c.ctx)
				c.pass, c.err, c.answered = pass, err, true
			}()
			synctest.Wait()

			wait := m.estimate(len(m.queue) + 1)
			switch {
			case len(m.queue) == 0 && len(m.inside) < m.limit:
				m.inside = append(m.inside, c)
			case len(m.queue) >= m.queueLimit:
				m.counts.Rejected++
				require.True(rt, c.answered, "the queue is full")
				require.Zero(rt, requireRefused(rt, c.err).RetryAfter)
				c.cancel()
			case patience > 0 && wait > patience:
				m.counts.Rejected++
				require.True(rt, c.answered, "it would not get in in time")
				require.Equal(rt, wait, requireRefused(rt, c.err).RetryAfter)
				c.cancel()
			default:
				m.queue = append(m.queue, c)
			}
		},
		"finish": func(rt *rapid.T) {
			if len(m.inside) == 0 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			finish(rapid.IntRange(0, len(m.inside)-1).Draw(rt, "call"), rapid.SampledFrom(errs).Draw(rt, "error"))
		},
		"cancel": func(rt *rapid.T) {
			calls := slices.Concat(m.inside, m.queue)
			if len(calls) == 0 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			c := calls[rapid.IntRange(0, len(calls)-1).Draw(rt, "call")]
			c.cause = context.Canceled
			c.cancel()
		},
		"finish and cancel": func(rt *rapid.T) { // the grant meets a cancelled waiter
			// With more who wait, how often there was a grant depends on who is first.
			if len(m.inside) == 0 || len(m.queue) == 0 || len(m.queue) > 2 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			m.queue[0].cause = context.Canceled
			m.queue[0].cancel()
			gone = append(gone, m.leave()...)
			finish(0, nil)
		},
		"limit": func(rt *rapid.T) {
			m.limit = rapid.IntRange(1, 6).Draw(rt, "limit")
			require.NoError(rt, b.SetLimit(m.limit))
			m.grant()
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 20).Draw(rt, "wait")) * 100 * time.Millisecond)
		},
		"": func(*rapid.T) { settled() },
	})

	for len(m.inside) > 0 {
		finish(0, nil)
		settled()
	}
	require.True(rt, b.AtRest())
}

// Contract: 14, 15, 16, 18
func TestModel(t *testing.T) {
	// rapid asks a *testing.T for its deadline, which a bubble does not allow.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ *testing.T }{t}, checkModel) })
}
