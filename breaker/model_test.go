package breaker_test

import (
	"context"
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
	cfg     breaker.Config
	state   breaker.State
	since   time.Time // of the state
	results []result  // of this closed stay
	inARow  int
	openFor time.Duration // taken from the breaker and checked against the bounds, and Jitter
	streak  int
	slots   map[*call]time.Time // probes under way and when they lapse
	good    int                 // probes of this half-open stay that succeeded
}

type result struct {
	at     time.Time
	failed bool
	slow   bool
}

// call is one that was let in.
type call struct {
	pass  *stability.Pass
	began time.Time
	state breaker.State
	since time.Time // of the stay that let it in
}

func (m *model) enter(state breaker.State) {
	*m = model{cfg: m.cfg, state: state, since: time.Now(), streak: m.streak, slots: map[*call]time.Time{}}
}

// inWindow counts the results of the last ten steps, the present one included.
func (m *model) inWindow() (calls, failed, slow int) {
	step := m.cfg.Window / 10
	at := func(t time.Time) int { return int(t.Sub(m.since) / step) }
	for _, r := range m.results {
		if at(r.at) <= at(time.Now())-10 {
			continue
		}
		calls++
		if r.failed {
			failed++
		}
		if r.slow {
			slow++
		}
	}
	return calls, failed, slow
}

// now takes the steps that only need time to pass and a call to come.
func (m *model) now() {
	if m.lapse() {
		return
	}
	if m.state == breaker.Open && m.openFor > 0 && time.Since(m.since) >= m.openFor {
		m.enter(breaker.HalfOpen)
	}
}

// lapse opens when a probe is not back in its time.
func (m *model) lapse() bool {
	if m.state == breaker.HalfOpen {
		for _, until := range m.slots {
			if !time.Now().Before(until) {
				m.streak++
				m.enter(breaker.Open)
				return true
			}
		}
	}
	return false
}

func (m *model) admits() bool {
	m.now()
	switch m.state {
	case breaker.Closed:
		return true
	case breaker.HalfOpen:
		return len(m.slots)+m.good < m.cfg.Probes
	default:
		return false
	}
}

func (m *model) ended(c *call, o stability.Outcome) {
	slow := m.cfg.SlowCall > 0 && time.Since(c.began) > m.cfg.SlowCall
	if !c.since.Equal(m.since) || c.state != m.state {
		return // of an earlier stay
	}
	if m.state == breaker.HalfOpen {
		if _, holds := m.slots[c]; !holds || m.lapse() {
			return
		}
		delete(m.slots, c)
		switch {
		case o == stability.Ignored:
		case o == stability.Success && !slow:
			if m.good++; m.good == m.cfg.Probes {
				m.streak = 0
				m.enter(breaker.Closed)
			}
		default:
			m.streak++
			m.enter(breaker.Open)
		}
		return
	}
	if o == stability.Ignored {
		return
	}
	m.results = append(m.results, result{time.Now(), o == stability.Failure, slow})
	if o == stability.Success {
		m.inARow = 0
		if !slow {
			return // only what is bad opens
		}
	} else {
		m.inARow++
	}
	calls, failed, slowCalls := m.inWindow()
	if (m.cfg.Consecutive > 0 && m.inARow >= m.cfg.Consecutive) ||
		(calls >= m.cfg.MinCalls &&
			(float64(failed) >= m.cfg.FailureRatio*float64(calls) ||
				m.cfg.SlowCall > 0 && float64(slowCalls) >= m.cfg.SlowRatio*float64(calls))) {
		m.enter(breaker.Open)
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
	m.enter(breaker.Closed)
	var calls []*call
	started, admitted, refused := 0, 0, 0

	rt.Repeat(map[string]func(*rapid.T){
		"enter": func(rt *rapid.T) {
			want := m.admits()
			pass, err := b.Enter(context.Background())
			require.Equal(rt, want, err == nil, "model is %v, breaker says %v", m.state, err)
			if err != nil {
				require.ErrorIs(rt, err, breaker.ErrOpen)
				refused++
				return
			}
			c := &call{pass, time.Now(), m.state, m.since}
			if m.state == breaker.HalfOpen {
				m.slots[c] = time.Now().Add(cfg.ProbeFor)
			}
			calls = append(calls, c)
			started++
		},
		"end": func(rt *rapid.T) {
			if len(calls) == 0 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			i := rapid.IntRange(0, len(calls)-1).Draw(rt, "call")
			c := calls[i]
			calls = append(calls[:i], calls[i+1:]...)
			o := rapid.SampledFrom([]stability.Outcome{stability.Success, stability.Failure, stability.Failure, stability.Ignored}).Draw(rt, "outcome")
			m.ended(c, o)
			_ = c.pass.Done(map[stability.Outcome]error{
				stability.Failure: errCall, stability.Ignored: stability.ErrRejected,
			}[o])
			admitted++
		},
		"wait": func(rt *rapid.T) {
			// An odd number of nanoseconds: never the very instant that a step of the
			// window ends at.
			time.Sleep(time.Duration(rapid.IntRange(0, 1200).Draw(rt, "ms"))*time.Millisecond + 1)
		},
		"": func(rt *rapid.T) {
			if m.state == breaker.Open && m.openFor == 0 {
				m.openFor = b.Stats().RetryAfter
				nominal := min(cfg.OpenFor<<min(m.streak, 10), cfg.MaxOpenFor)
				require.LessOrEqual(rt, m.openFor, nominal)
				require.GreaterOrEqual(rt, m.openFor, nominal-nominal/10)
				if cfg.Jitter != nil {
					require.Equal(rt, nominal-by, m.openFor)
				}
			}
			stats := b.Stats()
			require.Equal(rt, b.State(), stats.State)
			require.LessOrEqual(rt, stats.Probing, cfg.Probes)
			require.EqualValues(rt, admitted, stats.Started())
			require.EqualValues(rt, refused, stats.Rejected)
			if m.state == breaker.Closed {
				require.Equal(rt, breaker.Closed, stats.State)
				n, failed, slow := m.inWindow()
				require.Equal(rt, breaker.Counts{Successes: int64(n - failed), Failures: int64(failed), Slow: int64(slow)}, stats.Window)
			}
			from := breaker.Closed
			for _, c := range changes {
				require.Equal(rt, from, c.From)
				from = c.To
			}
		},
	})
}

// Contract: 1, 3, 4, 7, 8, 9, 11
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
