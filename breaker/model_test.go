package breaker_test

import (
	"context"
	"math/big"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
)

// model is what a breaker does, in the plainest words: it keeps every result and
// counts when asked.
type model struct {
	cfg       breaker.Config
	changed   time.Time // the state, as callers see it
	streak    int       // failed recoveries
	opened    int64
	succeeded int // of all calls that have ended

	stay
}

// stay is what the model knows of one time in a state.
type stay struct {
	number  int // so many there were
	state   breaker.State
	began   time.Time // in the steps of its window
	results []*result
	inARow  int
	due     time.Time           // taken from the breaker and checked against the bounds, and Jitter
	due9    time.Time           // the earliest that it may be
	slots   map[*call]time.Time // probes under way and when they lapse
	good    int                 // probes of this half-open stay that succeeded
}

type result struct {
	at                        time.Time
	succeeded, failed, isSlow bool
}

// call is one that was let in.
type call struct {
	pass  *stability.Pass
	began time.Time
	stay  int   // that let it in
	inner bool  // as part of a probe
	mark  *call // the probe in whose context it is, itself if it is one
	ended bool

	answer    *result // that counts until it breaks
	answered  bool
	good      bool // a probe that succeeded
	next      int  // the stay that it led to
	row, seen int  // failures in a row, and successes, at the answer
}

func (m *model) enter(state breaker.State, at time.Time) {
	if at.After(m.changed) {
		m.changed = at
	}
	m.stay = stay{number: m.number + 1, state: state, began: time.Now(), slots: map[*call]time.Time{}}
}

// open is told when the open time begins.
func (m *model) open(at time.Time) {
	m.opened++
	nominal := m.nominal(m.streak)
	m.enter(breaker.Open, at)
	m.due9 = at.Add(nominal - nominal/10)
}

func (m *model) reopen(at time.Time) {
	m.streak++
	m.open(at)
}

func (m *model) nominal(streak int) time.Duration {
	return min(m.cfg.OpenFor<<min(streak, 10), m.cfg.MaxOpenFor)
}

// inWindow counts the results of the last ten steps, the present one included.
func (m *model) inWindow() (c breaker.Counts) {
	step := m.cfg.Window / 10
	at := func(t time.Time) int { return int(t.Sub(m.began) / step) }
	for _, r := range m.results {
		if at(r.at) <= at(time.Now())-10 {
			continue
		}
		for of, is := range map[*int64]bool{&c.Successes: r.succeeded, &c.Failures: r.failed, &c.Slow: r.isSlow} {
			if is {
				*of++
			}
		}
	}
	return c
}

// lapsed returns when the first probe was not back in its time, or zero.
func (m *model) lapsed() (first time.Time) {
	for _, until := range m.slots {
		if !time.Now().Before(until) && (first.IsZero() || until.Before(first)) {
			first = until
		}
	}
	return first
}

// act takes the steps that only need time to pass, as the breaker does when a call comes
// or ends.
func (m *model) act() {
	if at := m.lapsed(); !at.IsZero() {
		due := m.due
		m.reopen(at)
		m.due = due
	}
}

func (m *model) admits(mark *call) (admits, inner bool) {
	m.act()
	if m.state == breaker.Open && !time.Now().Before(m.due) {
		m.enter(breaker.HalfOpen, m.due)
	}
	switch m.state {
	case breaker.Closed:
		return true, false
	case breaker.HalfOpen:
		if mark != nil && !mark.ended && mark.stay == m.number {
			return true, true
		}
		return len(m.slots)+m.good < m.cfg.Probes, false
	default:
		return false, false
	}
}

func (m *model) slow(c *call) bool {
	return m.cfg.SlowCall > 0 && time.Since(c.began) > m.cfg.SlowCall
}

func (m *model) answered(c *call) {
	c.answered = true
	switch {
	case c.inner:
	case c.mark == c:
		m.probed(c, stability.Success)
	default:
		c.row, c.seen = m.inARow, m.succeeded
		c.answer = m.count(c, stability.Success, m.slow(c))
	}
}

func (m *model) ended(c *call, o stability.Outcome) {
	c.ended = true
	if o == stability.Success {
		m.succeeded++
	}
	switch broke := o == stability.Failure; {
	case c.inner:
	case !c.answered && c.mark == c:
		m.probed(c, o)
	case !c.answered:
		m.count(c, o, m.slow(c))
	case c.mark == c:
		m.act()
		switch {
		case !broke:
		case c.next == 0 && c.good && m.number == c.stay:
			m.reopen(time.Now())
		case c.next != 0 && m.number == c.next:
			c.stay = c.next
			m.count(c, stability.Failure, false)
		}
	case broke:
		if c.answer != nil {
			c.answer.succeeded = false
		}
		if c.stay == m.number && m.succeeded == c.seen {
			m.inARow += c.row
		}
		m.count(c, stability.Failure, false)
	}
}

// probed ends a probe.
func (m *model) probed(c *call, o stability.Outcome) {
	m.act()
	if _, holds := m.slots[c]; !holds {
		return
	}
	delete(m.slots, c)
	switch {
	case o == stability.Ignored:
	case o == stability.Success && !m.slow(c):
		c.good = true
		if m.good++; m.good == m.cfg.Probes {
			m.streak = 0
			m.enter(breaker.Closed, time.Now())
			c.next = m.number
		}
	default:
		m.reopen(time.Now())
	}
}

// count counts a result of a closed breaker.
func (m *model) count(c *call, o stability.Outcome, slow bool) *result {
	if c.stay != m.number || o == stability.Ignored {
		return nil // of an earlier stay
	}
	r := &result{time.Now(), o == stability.Success, o == stability.Failure, slow}
	m.results = append(m.results, r)
	if o == stability.Success {
		m.inARow = 0
		if !slow {
			return r // only what is bad opens
		}
	} else {
		m.inARow++
	}
	n := m.inWindow()
	calls := n.Successes + n.Failures
	if (m.cfg.Consecutive > 0 && m.inARow >= m.cfg.Consecutive) ||
		(calls >= int64(m.cfg.MinCalls) &&
			(share(n.Failures, calls, m.cfg.FailureRatio) ||
				m.cfg.SlowCall > 0 && share(n.Slow, calls, m.cfg.SlowRatio))) {
		m.open(time.Now())
	}
	return r
}

// share reports whether n of calls are the ratio or more, where the ratio is the number
// that its shortest decimal is.
func share(n, calls int64, ratio float64) bool {
	exact, _ := new(big.Rat).SetString(strconv.FormatFloat(ratio, 'g', -1, 64))
	return big.NewRat(n, calls).Cmp(exact) >= 0
}

// check compares what the breaker says with what the model knows, and takes from it what
// is left to chance.
func (m *model) check(t require.TestingT, b *breaker.Breaker, by *time.Duration) {
	stats := b.Stats()
	require.Equal(t, stats.State, b.State())
	now, state, since, opened := time.Now(), m.state, m.changed, m.opened
	at := m.lapsed()
	if !at.IsZero() {
		nominal := m.nominal(m.streak + 1)
		state, since, opened = breaker.Open, at, opened+1
		if m.due.IsZero() { // seen for the first time
			m.due9 = at.Add(nominal - nominal/10)
			m.learn(t, stats, at, nominal)
		}
		require.Zero(t, stats.Probing)
	} else {
		require.Equal(t, len(m.slots), stats.Probing)
	}
	switch {
	case at.IsZero() && state == breaker.Open && m.due.IsZero():
		m.learn(t, stats, now, m.nominal(m.streak))
		if m.cfg.Jitter != nil {
			require.Equal(t, m.nominal(m.streak)-*by, stats.RetryAfter)
		}
	case at.IsZero() && state == breaker.Open && *by != 0 && stats.RetryAfter > 0 && now.Add(stats.RetryAfter).Before(m.due):
		// A call has found that a probe lapsed, and Jitter was asked.
		due := m.due.Add(-*by)
		if !due.After(now) {
			due = now.Add(1)
		}
		require.Equal(t, due, now.Add(stats.RetryAfter))
		m.due = due
	}
	if state == breaker.Open && !now.Before(m.due) {
		state = breaker.HalfOpen
		if m.due.After(since) {
			since = m.due
		}
	}
	require.Equal(t, state, stats.State)
	require.Equal(t, opened, stats.Opened)
	if state == breaker.Open {
		require.Equal(t, m.due.Sub(now), stats.RetryAfter)
	} else {
		require.Zero(t, stats.RetryAfter)
	}
	if !since.Equal(m.due) { // which may not be known, but that it is over
		require.Equal(t, since, stats.Since)
	}
	if state == breaker.Closed {
		require.Equal(t, m.inWindow(), stats.Window)
	}
}

// learn takes from the breaker when the open time that began then ends.
func (m *model) learn(t require.TestingT, stats breaker.Stats, began time.Time, nominal time.Duration) {
	m.due = time.Now().Add(stats.RetryAfter)
	require.LessOrEqual(t, m.due.Sub(began), max(nominal, time.Since(began)))
	require.False(t, m.due.Before(m.due9), "shortened by a tenth at the most")
	if stats.State != breaker.Open { // it is over, since then
		m.due = stats.Since
		require.LessOrEqual(t, m.due.Sub(began), nominal)
		require.False(t, m.due.Before(m.due9))
	}
}

func checkModel(rt *rapid.T) {
	cfg := breaker.Config{
		FailureRatio: rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(rt, "FailureRatio"),
		Consecutive:  rapid.IntRange(0, 4).Draw(rt, "Consecutive"),
		MinCalls:     rapid.IntRange(1, 6).Draw(rt, "MinCalls"),
		Window:       time.Second,
		OpenFor:      time.Second,
		MaxOpenFor:   5 * time.Second,
		Probes:       rapid.IntRange(1, 3).Draw(rt, "Probes"),
		ProbeFor:     2 * time.Second,
	}
	if rapid.Bool().Draw(rt, "slow") {
		cfg.SlowCall, cfg.SlowRatio = 300*time.Millisecond, 0.6
	}
	var by time.Duration // what Jitter shortened the last open time by
	if rapid.Bool().Draw(rt, "jitter") {
		cfg.Jitter = func(longest time.Duration) time.Duration {
			n := time.Duration(rapid.Int64().Draw(rt, "shorten"))
			if rapid.Bool().Draw(rt, "within") {
				n = n.Abs() % longest
			}
			by = min(max(n, 0), longest)
			return n
		}
	}
	var changes []breaker.Change
	cfg.OnChange = func(c breaker.Change) { changes = append(changes, c) }
	b := breaker.New(cfg)
	m := &model{cfg: cfg}
	m.enter(breaker.Closed, time.Now())
	var calls []*call // under way
	var ended []*call
	began, refused := 0, 0
	enter := func(rt *rapid.T, ctx context.Context, mark *call) {
		want, inner := m.admits(mark)
		by = 0
		pass, err := b.Enter(ctx)
		require.Equal(rt, want, err == nil, "model is %v, breaker says %v", m.state, err)
		if err != nil {
			require.ErrorIs(rt, err, breaker.ErrOpen)
			refused++
			return
		}
		c := &call{pass: pass, began: time.Now(), stay: m.number, inner: inner, mark: mark}
		if m.state == breaker.HalfOpen && !inner {
			m.slots[c] = time.Now().Add(cfg.ProbeFor)
			c.mark = c
		}
		calls = append(calls, c)
		began++
	}

	rt.Repeat(map[string]func(*rapid.T){
		"enter": func(rt *rapid.T) { enter(rt, context.Background(), nil) },
		"enter within a call": func(rt *rapid.T) {
			if all := append(calls[:len(calls):len(calls)], ended...); len(all) > 0 {
				c := rapid.SampledFrom(all).Draw(rt, "call")
				enter(rt, c.pass.Context(), c.mark)
			}
		},
		"answer": func(rt *rapid.T) {
			if len(calls) == 0 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			c := rapid.SampledFrom(calls).Draw(rt, "call")
			if !c.answered {
				m.answered(c)
				by = 0
			}
			c.pass.Answered()
		},
		"end": func(rt *rapid.T) {
			if len(calls) == 0 {
				return
			}
			i := rapid.IntRange(0, len(calls)-1).Draw(rt, "call")
			c := calls[i]
			calls = append(calls[:i], calls[i+1:]...)
			ended = append(ended, c)
			o := rapid.SampledFrom([]stability.Outcome{stability.Success, stability.Failure, stability.Failure, stability.Ignored}).Draw(rt, "outcome")
			m.ended(c, o)
			by = 0
			_ = c.pass.Done(map[stability.Outcome]error{
				stability.Failure: errCall, stability.Ignored: stability.ErrRejected,
			}[o])
		},
		"reconfigure": func(rt *rapid.T) {
			cfg.FailureRatio = rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(rt, "FailureRatio")
			cfg.MinCalls = rapid.IntRange(1, 6).Draw(rt, "MinCalls")
			m.cfg.FailureRatio, m.cfg.MinCalls = cfg.FailureRatio, cfg.MinCalls
			require.NoError(rt, b.Reconfigure(cfg))
		},
		"wait": func(rt *rapid.T) {
			// An odd number of nanoseconds: never the very instant that a step of the
			// window ends at.
			time.Sleep(time.Duration(rapid.IntRange(0, 1200).Draw(rt, "ms"))*time.Millisecond + 1)
		},
		"wait for long": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(0, 12).Draw(rt, "s"))*time.Second + 1)
		},
		"": func(rt *rapid.T) {
			m.check(rt, b, &by)
			stats := b.Stats()
			require.EqualValues(rt, began-len(calls), stats.Started())
			require.EqualValues(rt, m.succeeded, stats.Succeeded)
			require.EqualValues(rt, refused, stats.Rejected)
			from, at := breaker.Closed, time.Time{}
			for _, c := range changes {
				require.Equal(rt, from, c.From)
				require.False(rt, c.At.Before(at) || c.At.After(time.Now()), "%v after %v", c.At, at)
				from, at = c.To, c.At
			}
		},
	})
}

// Contract: 1, 3, 4, 7, 8, 9, 11, 48, 49, 50
func TestModel(t *testing.T) {
	// rapid asks a *testing.T for its deadline, which a bubble does not allow.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ *testing.T }{t}, checkModel) })
}

func FuzzModel(f *testing.F) {
	check := rapid.MakeFuzz(checkModel)
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) { check(t, input) })
	})
}
