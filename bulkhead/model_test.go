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
	gone              []*call // refused after they waited, and not looked at yet
	counts            stability.Calls

	timed   []grants // since the queue was last empty
	untimed int      // grants after those
	granted int      // since the queue was last empty
	work    []ended  // the last 64 calls that tell how long work takes
}

// grants is how many there were up to an instant, since the one before.
type grants struct {
	n  int
	at time.Time
}

// ended is a call that took so long and ended then.
type ended struct {
	took time.Duration
	at   time.Time
}

// call is one that asked to be let in.
type call struct {
	ctx      context.Context
	cancel   context.CancelFunc
	came     time.Time
	began    time.Time
	deadline time.Time // zero: none
	until    time.Time // when its wait is over; zero: never
	cause    error     // what of its context is over then; nil: only MaxWait
	late     bool      // the wait had left it too little time

	answered bool
	pass     *stability.Pass
	err      error
}

// interval is the running mean of the intervals between grants, where one that is longer
// than all before counts as the longest of them; and whether the last one was such.
func (m *model) interval() (mean time.Duration, stalled bool) {
	var longest time.Duration
	for i := 1; i < len(m.timed); i++ {
		interval := m.timed[i].at.Sub(m.timed[i-1].at) / time.Duration(m.timed[i].n)
		if i == 1 {
			mean = interval
		} else {
			mean += (min(interval, longest) - mean) / 4
		}
		stalled = interval > longest
		longest = max(longest, interval)
	}
	return mean, stalled
}

// fresh returns how long those calls took that are not too long ago.
func (m *model) fresh() (took []time.Duration) {
	for _, e := range m.work {
		if age := time.Since(e.at); age <= 10*time.Second || age/8 <= e.took {
			took = append(took, e.took)
		}
	}
	slices.Sort(took)
	return took
}

// typical is the median of them.
func (m *model) typical() time.Duration {
	if took := m.fresh(); len(took) > 0 {
		return took[(len(took)-1)/2]
	}
	return 0
}

// within is how many of them took at most so long.
func (m *model) within(d time.Duration) (n int) {
	for _, took := range m.fresh() {
		if took <= d {
			n++
		}
	}
	return n
}

// costs is whether a wait costs a call half of its chances, or some of them where the
// queue does not empty.
func (m *model) costs(wait time.Duration, c *call, strict bool) bool {
	if c.deadline.IsZero() {
		return false
	}
	had := c.deadline.Sub(c.came)
	left := had - wait
	return 2*m.within(left) < m.within(had) || strict && 32*m.within(left-left/9) < 31*m.within(had-had/9)
}

// wait is the least wait of a call that joins the queue: half of what the queue's pace
// says once that is known, and else of what the work of those before it takes, once it
// moves.
func (m *model) wait() time.Duration {
	if len(m.timed) > 8 {
		mean, _ := m.interval()
		return time.Duration(float64(mean) / 2 * float64(len(m.queue)+1))
	}
	if m.granted == 0 {
		return 0
	}
	return time.Duration(float64(m.typical()) / 2 * (float64(len(m.queue)) / float64(m.limit)))
}

// grant lets in who has waited longest, one after the other. Who has too little time by
// then passes the permit on.
func (m *model) grant() {
	for len(m.inside) < m.limit && len(m.queue) > 0 {
		c := m.queue[0]
		m.queue = m.queue[1:]
		m.granted++
		m.untimed++
		mean, stalled := m.interval()
		if len(m.timed) <= 8 || mean >= 10*time.Microsecond || stalled || m.untimed >= 8 {
			m.timed = append(m.timed, grants{m.untimed, time.Now()})
			m.untimed = 0
		}
		if m.costs(time.Since(c.came), c, len(m.queue) > 0 && m.granted >= 8*m.limit) {
			c.late, c.cause = true, nil
			m.gone = append(m.gone, c)
			m.counts.Rejected++
		} else {
			c.began = time.Now()
			m.inside = append(m.inside, c)
		}
		m.rest()
	}
}

func (m *model) rest() {
	if len(m.queue) == 0 {
		m.timed, m.untimed, m.granted = nil, 0, 0
	}
}

// leave takes out of the queue whose time is over.
func (m *model) leave() {
	m.queue = slices.DeleteFunc(m.queue, func(c *call) bool {
		over := c.ctx.Err() != nil || !c.until.IsZero() && !time.Now().Before(c.until)
		if over {
			m.gone = append(m.gone, c)
			m.counts.Rejected++
		}
		return over
	})
	m.rest()
}

// end takes note of how long a call took that ends in err: one that ran out of time, twice
// as long as it had.
func (m *model) end(c *call, err error) {
	took := time.Since(c.began)
	switch {
	case m.queueLimit == 0:
		return
	case err == nil:
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		took = max(took, 2*c.deadline.Sub(c.began))
	default:
		return
	}
	m.work = append(m.work, ended{took, time.Now()})
	m.work = m.work[max(0, len(m.work)-64):]
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

	settled := func() { // nobody else is in, nobody else was refused
		synctest.Wait()
		m.leave()
		for _, c := range m.gone {
			require.True(rt, c.answered, "its wait is over")
			r := requireRefused(rt, c.err)
			require.Zero(rt, r.RetryAfter)
			require.Equal(rt, c.late, errors.Is(r, bulkhead.ErrNoTime), "%v", r)
			for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
				require.Equal(rt, c.cause == cause, errors.Is(r, cause), "%v", r)
			}
			c.cancel()
		}
		m.gone = nil
		for _, c := range m.inside {
			require.True(rt, c.answered, "first come, first served")
			require.NoError(rt, c.err)
		}
		for _, c := range m.queue {
			require.False(rt, c.answered, "it waits")
		}
		require.Equal(rt, len(m.queue) > 0, b.LooksForWaiters())
		require.Equal(rt, bulkhead.Stats{
			Calls: m.counts, Limit: m.limit, InUse: len(m.inside), Queued: len(m.queue), QueueLimit: m.queueLimit, Work: m.typical(),
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
		// No call takes no time at all: of such not every one is timed.
		time.Sleep(time.Millisecond)
		synctest.Wait()
		m.leave()
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
		m.end(c, err)
		require.Equal(rt, err, c.pass.Done(err))
		c.cancel()
		m.grant()
	}

	rt.Repeat(map[string]func(*rapid.T){
		"enter": func(rt *rapid.T) {
			c := &call{came: time.Now()}
			c.ctx, c.cancel = context.WithCancel(context.Background())
			patience := m.maxWait
			if rapid.Bool().Draw(rt, "has a deadline") {
				timeout := time.Duration(rapid.IntRange(1, 60).Draw(rt, "timeout"))*100*time.Millisecond + time.Millisecond
				c.deadline = c.came.Add(timeout)
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

			wait := m.wait()
			switch {
			case len(m.queue) == 0 && len(m.inside) < m.limit:
				c.began = time.Now()
				m.inside = append(m.inside, c)
			case len(m.queue) >= m.queueLimit:
				m.counts.Rejected++
				require.True(rt, c.answered, "the queue is full")
				require.Zero(rt, requireRefused(rt, c.err).RetryAfter)
				c.cancel()
			case m.costs(wait, c, false), patience > 0 && wait > patience:
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
			time.Sleep(time.Millisecond)
			synctest.Wait()
			m.leave()
			if len(m.queue) == 0 {
				return
			}
			m.queue[0].cause = context.Canceled
			m.queue[0].cancel()
			m.leave()
			finish(0, nil)
		},
		"limit": func(rt *rapid.T) {
			to := rapid.IntRange(1, 6).Draw(rt, "limit")
			for m.limit < to && len(m.queue) > 0 { // one is let in at a time: who is late depends on who was before
				m.limit++
				require.NoError(rt, b.SetLimit(m.limit))
				m.grant()
				synctest.Wait()
			}
			m.limit = to
			if rapid.Bool().Draw(rt, "whole") {
				cfg := b.Config()
				cfg.Limit = m.limit
				require.NoError(rt, b.Reconfigure(cfg))
			} else {
				require.NoError(rt, b.SetLimit(m.limit))
			}
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
